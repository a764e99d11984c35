-- KEYS: blocks. ARGV: who is blocked, and how, again and again. What was replaced meanwhile stays.
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 0
