-- Nothing but the entry.
if repeated() then
  return answer('done')
end
if stale() then
  return answer('stale')
end
append()
return answer('done')
