-- Counts one more against a rate: the generic cell rate algorithm, by the server's own clock. What is kept is when
-- the bucket will be full again. Returns whether there was a token, and then how much is left of the bucket, else
-- how much is missing.
-- KEYS: bucket. ARGV: microseconds for one, and to fill an empty bucket.
local interval, whole = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or '0')
-- A bucket that was larger when it was last used is now at most empty.
local missing = math.min(math.max(full_at - now, 0), whole) + interval
if missing > whole then
  return { 0, missing - whole }
end
redis.call('SET', KEYS[1], string.format('%.0f', now + missing), 'PX', math.ceil(missing / 1000))
return { 1, whole - missing }
