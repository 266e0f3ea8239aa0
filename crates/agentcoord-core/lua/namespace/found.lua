#!lua
-- namespace/found: writes a namespace's meta record when there is none, and returns the one that is there.
-- returns {epoch, instance, generation, owner, schema, closed}, '' for what is absent

local META = unpack(KEYS)
local EPOCH, INSTANCE, GENERATION, OWNER, SCHEMA = unpack(ARGV)

if redis.call('EXISTS', META) == 0 then
    redis.call('HSET', META, 'epoch', EPOCH, 'instance', INSTANCE, 'generation', GENERATION, 'owner', OWNER,
        'schema', SCHEMA)
end
local found = redis.call('HMGET', META, 'epoch', 'instance', 'generation', 'owner', 'schema', 'closed')
for at = 1, 6 do
    found[at] = found[at] or ''
end
return found
