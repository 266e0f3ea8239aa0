#!lua
-- namespace/raise: moves the epoch from one number to a higher one, and perhaps to another generation, when the
-- namespace is still the one that was looked at.
-- returns {epoch, instance, generation, owner, schema, closed} as it is afterwards, '' for what is absent

local META = unpack(KEYS)
local INSTANCE, FROM, TO, GENERATION = unpack(ARGV)

local names = {'epoch', 'instance', 'generation', 'owner', 'schema', 'closed'}
local found = redis.call('HMGET', META, unpack(names))
if found[2] == INSTANCE and found[1] == FROM and tonumber(TO) > tonumber(FROM) then
    redis.call('HSET', META, 'epoch', TO, 'generation', GENERATION)
    found[1], found[3] = TO, GENERATION
end
for at = 1, #names do
    found[at] = found[at] or ''
end
return found
