-- KEYS: record, last use. ARGV: when. Forward only, and only for a key that is known.
local newest = tonumber(redis.call('GET', KEYS[2]) or '')
if redis.call('EXISTS', KEYS[1]) == 1 and (not newest or newest < tonumber(ARGV[1])) then
  redis.call('SET', KEYS[2], ARGV[1])
end
return 0
