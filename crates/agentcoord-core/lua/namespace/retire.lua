#!lua
-- namespace/retire: closes a namespace for good, so that it can be deleted, when it is still the one that was looked at; unless
-- it is only a copy, its shared state must be the one that was looked at, too: nobody has come meanwhile. What is looked
-- for by others goes at once, so that nobody takes a part of what is left for the whole.
-- returns how many keys went when it is closed, else -1

local META, HOT = unpack(KEYS)
local INSTANCE, COPY, SEEN = unpack(ARGV)

local instance, leaving = unpack(redis.call('HMGET', META, 'instance', 'leaving'))
if instance ~= INSTANCE then
    return -1
end
if leaving ~= '1' then
    if COPY ~= '1' and (redis.call('HGET', HOT, 'state') or '') ~= SEEN then
        return -1
    end
    redis.call('HSET', META, 'closed', '1', 'leaving', '1')
end
return redis.call('UNLINK', unpack(KEYS, 2))
