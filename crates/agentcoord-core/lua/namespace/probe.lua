#!lua flags=no-writes
-- namespace/probe: whether this user may run every command that scripts and reads use, so that no step stops half-way.
-- returns {command ..}: those that are forbidden; publishing, without which waiting is only slower, comes as 'publish'

local META, HOT, INDEX, EVENTS, ROOT = unpack(KEYS)
local WAKE_PREFIX = unpack(ARGV)

local needed = {
    {'hmget', META, 'f'},
    {'hget', HOT, 'f'},
    {'hmget', HOT, 'f'},
    {'hset', HOT, 'f', 'v'},
    {'hdel', HOT, 'f'},
    {'time'},
    {'get', ROOT .. ':agent:k'},
    {'set', ROOT .. ':agent:k', 'v'},
    {'mset', ROOT .. ':agent:k', 'v'},
    {'del', ROOT .. ':agent:k'},
    {'zrangebylex', INDEX, '-', '+'},
    {'zcard', INDEX},
    {'zadd', INDEX, 0, 'm'},
    {'zrem', INDEX, 'm'},
    {'xadd', EVENTS, '*', 'f', 'v'},
    {'xtrim', EVENTS, 'MINID', '0'},
    {'xrange', EVENTS, '-', '+'},
    {'fcall', 'f', 1, META},
    {'function', 'load', 't'},
    {'publish', WAKE_PREFIX .. 'k', 'm'},
}
local forbidden = {}
for _, command in ipairs(needed) do
    if not redis.acl_check_cmd(unpack(command)) then
        forbidden[#forbidden + 1] = command[1]
    end
end
return forbidden
