-- KEYS: errands that are due. ARGV: now, until when they are claimed, how many at most. Returns the errands as
-- they were before. Where the answer is lost, they come again when the claim is over.
local claimed = {}
for _, errand in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[3])) do
  local fields = redis.call('HGETALL', errand)
  if #fields == 0 then
    redis.call('ZREM', KEYS[1], errand)
  else
    claimed[#claimed + 1] = fields
    redis.call('HINCRBY', errand, 'tries', 1)
    redis.call('HSET', errand, 'due', ARGV[2])
    redis.call('ZADD', KEYS[1], ARGV[2], errand)
  end
end
return claimed
