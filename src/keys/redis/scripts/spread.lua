-- How far each process has come in the change log, and whether an entry is in it. Reads only.
-- KEYS: change log, replicas. ARGV: the entry's id and call.
local present = ARGV[1] == '0-0'
if not present then
  local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
  present = entry ~= nil and entry[2][2] == ARGV[2]
end
return { present and 1 or 0, redis.call('HGETALL', KEYS[2]) }
