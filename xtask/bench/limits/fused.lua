#!lua
-- The least that ends a task and claims the next one, under a lease and by priority: the lease is the proof that the task was
-- the caller's, the ready tasks are a sorted set. What a step costs beyond this is ours.
-- returns the key and the title of the next task, or nothing
local READY, LEASES = unpack(KEYS)
local DONE, WORKER, UNTIL = unpack(ARGV)

if DONE ~= '' then
    if redis.call('ZREM', LEASES, DONE) == 0 then
        return redis.error_reply('STALE it is not yours')
    end
    redis.call('HSET', DONE, 'status', 'completed')
end
local task = redis.call('ZPOPMIN', READY)[1]
if not task then
    return false
end
redis.call('ZADD', LEASES, UNTIL, task)
redis.call('HSET', task, 'status', 'claimed', 'owner', WORKER)
return {task, redis.call('HGET', task, 'title')}
