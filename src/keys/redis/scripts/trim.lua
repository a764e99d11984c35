-- KEYS: base. ARGV: the base as it is thought to be, and as it is to be; the number of the first entry that stays.
local base = KEYS[5]
local from, to, stays = unpack(ARGV, 8, 10)
if repeated() then
  return answer('done')
end
if (redis.call('GET', base) or '') ~= from then
  return answer('otherwise')
end
if stale() then
  return answer('stale')
end
append()
redis.call('SET', base, to)
redis.call('XTRIM', KEYS[2], 'MINID', '=', stays)
return answer('done')
