#!lua
-- namespace/open: lets steps run on a state that was carried in, when nobody has closed the namespace anew since, the server is
-- the one that it was carried into, and the generation still is the one that was begun: nobody has flushed it meanwhile.
-- returns {epoch, instance, generation, owner, schema, closed} as it is afterwards, '' for what is absent

local META, HOT = unpack(KEYS)
local EPOCH, ATTEMPT, GENERATION, RUN_ID, BEGUN = unpack(ARGV)

local names = {'epoch', 'instance', 'generation', 'owner', 'schema', 'closed'}
local found = redis.call('HMGET', META, 'epoch', 'closed', 'attempt')
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local is_whole = redis.call('HGET', HOT, BEGUN)
if found[1] == EPOCH and found[2] == '1' and found[3] == ATTEMPT and run_id == RUN_ID and is_whole then
    redis.call('HSET', META, 'generation', GENERATION)
    redis.call('HDEL', META, 'closed', 'attempt')
    redis.call('HDEL', HOT, BEGUN)
end
found = redis.call('HMGET', META, unpack(names))
for at = 1, #names do
    found[at] = found[at] or ''
end
return found
