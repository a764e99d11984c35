-- KEYS: errands that are over. ARGV: the first time of which they stay, how many at most.
local over = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, errand in ipairs(over) do
  redis.call('ZREM', KEYS[1], errand)
  if redis.call('HGET', errand, 'state') ~= 'pending' then
    redis.call('DEL', errand)
  end
end
return #over
