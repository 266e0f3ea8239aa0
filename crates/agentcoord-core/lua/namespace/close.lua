#!lua
-- namespace/close: lets no step run any more, so that a state can be carried in; only over nothing, or over what this owner
-- has left behind in an earlier epoch.
-- returns {epoch, instance, generation, owner, schema, closed} as it is afterwards, '' for what is absent

local META = unpack(KEYS)
local EPOCH, INSTANCE, OWNER, SCHEMA, ATTEMPT = unpack(ARGV)

local names = {'epoch', 'instance', 'generation', 'owner', 'schema', 'closed'}
local found = redis.call('HMGET', META, unpack(names))
local is_empty = redis.call('EXISTS', META) == 0
local is_ours = found[4] == OWNER and found[2] == INSTANCE and tonumber(found[1] or '0') < tonumber(EPOCH)
if is_empty or is_ours then
    redis.call('HSET', META, 'epoch', EPOCH, 'instance', INSTANCE, 'owner', OWNER, 'schema', SCHEMA, 'closed', '1',
        'attempt', ATTEMPT)
    if is_empty then
        redis.call('HSET', META, 'generation', '0')
    end
    found = redis.call('HMGET', META, unpack(names))
end
for at = 1, #names do
    found[at] = found[at] or ''
end
return found
