-- KEYS: errand, errands that are due. ARGV: when it is due, or nothing where it is not pending; then its fields.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
if ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[2], ARGV[1], KEYS[1])
else
  redis.call('ZREM', KEYS[2], KEYS[1])
end
return 0
