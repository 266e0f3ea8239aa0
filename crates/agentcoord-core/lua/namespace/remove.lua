#!lua
-- namespace/remove: deletes the meta record of a namespace that was closed for good, the last of its keys.
-- returns how many keys went

local META = unpack(KEYS)
local INSTANCE = unpack(ARGV)

local instance, leaving = unpack(redis.call('HMGET', META, 'instance', 'leaving'))
if instance ~= INSTANCE or leaving ~= '1' then
    return 0
end
return redis.call('DEL', META)
