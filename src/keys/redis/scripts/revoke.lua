-- KEYS: index by id, numbers of good keys, list of all, errand, errands that are due. ARGV: what the names of records begin
-- with, and what owners among those numbers begin with; when an instance is to be told, or nothing; instance and
-- id, for the errand; then the revocation's fields. The first revocation of each record stays.
local index, good, all, errand, due = unpack(KEYS, 5, 9)
local records, owners, tell, instance, id = unpack(ARGV, 8, 12)

local keys = {}
for _, field in ipairs(redis.call('HKEYS', index)) do
  if #field == 64 then
    keys[#keys + 1] = field
  end
end
table.sort(keys)
if repeated() then
  return answer('done', keys)
end

local open, issued = {}, nil
for _, key in ipairs(keys) do
  local name = records .. key
  local ended, user, issuer, email =
    unpack(redis.call('HMGET', name, 'revoked_at', 'user_id', 'issuer', 'user_email'))
  if not ended and redis.call('EXISTS', name) == 1 then
    open[#open + 1] = { name, user, key }
  end
  if issuer == 'openbin' and not issued then
    issued = { user, email }
  end
end
local first = redis.call('HEXISTS', index, 'revoked_at') == 0
if not first and #open == 0 then
  return answer('done', keys)
end
if stale() then
  return answer('stale')
end
append(table.concat(keys, ' '))
if first then
  redis.call('HSET', index, unpack(ARGV, 13))
end
for _, record in ipairs(open) do
  redis.call('HSET', record[1], unpack(ARGV, 13))
  mark(all, record[1], record[3], instance, 'r')
  local owner = owners .. (record[2] or '')
  if redis.call('HINCRBY', good, owner, -1) <= 0 then
    redis.call('HDEL', good, owner)
  end
end
-- What was told once stays told.
if tell ~= '' and issued and redis.call('EXISTS', errand) == 0 then
  redis.call('HSET', errand, 'instance', instance, 'key_id', id, 'task', 'tell', 'user_id', issued[1] or '',
    'state', 'pending', 'due', tell, 'tries', '0')
  if issued[2] then
    redis.call('HSET', errand, 'user_email', issued[2])
  end
  redis.call('ZADD', due, tell, errand)
end
return answer('done', keys)
