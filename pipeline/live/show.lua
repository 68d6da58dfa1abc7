-- Show one version of a poll's result, unless what is shown is as new or newer.
--
-- KEYS[1] the display's hash; the channel has the same name.
-- ARGV    1 format, 2 topic, 3 next offsets ("120 98 131"), 4 complete_to, 5 second, 6 as_of, 7 status, 8 lag, 9 the least version,
--         10 the JSON from after its version on, then the hash's fields and values.
-- Returns {answer, version, json}: `shown`, and its version; `same` or `stale`, and what is shown; or `foreign`.
--
-- Newer means: nowhere behind. A ledger only grows, so what was built from a smaller offset of any partition is older there,
-- and must not replace what was built from a larger one. A version is the time in ms, or one more than the last version if the
-- clock says less: it grows while the key lives, and also over the loss of the key, since who shows it again asks for no less.

local key = KEYS[1]
local found = redis.call('TYPE', key)['ok']
if found ~= 'none' and found ~= 'hash' then
  return {'foreign', 0, ''}
end
local shown = redis.call('HMGET', key, 'format', 'topic', 'next_offsets', 'complete_to', 'second', 'as_of', 'status', 'lag',
  'version', 'json')

local version = 0
if shown[9] then
  if shown[1] ~= ARGV[1] or shown[2] ~= ARGV[2] then
    return {'foreign', 0, shown[2] or ''}
  end
  version = tonumber(shown[9])
  local before, newer = {}, false
  for offset in string.gmatch(shown[3], '%d+') do
    before[#before + 1] = tonumber(offset)
  end
  local index = 0
  for text in string.gmatch(ARGV[3], '%d+') do
    index = index + 1
    local offset = tonumber(text)
    if before[index] == nil then
      return {'foreign', 0, shown[2]}
    end
    if offset < before[index] then
      return {'stale', version, shown[10]}
    end
    newer = newer or offset > before[index]
  end
  if index ~= #before then
    return {'foreign', 0, shown[2]}
  end
  for place = 4, 5 do
    if tonumber(ARGV[place]) < tonumber(shown[place]) then
      return {'stale', version, shown[10]}
    end
    newer = newer or tonumber(ARGV[place]) > tonumber(shown[place])
  end
  if not newer and shown[7] == ARGV[7] and shown[8] == ARGV[8] then
    return {'same', version, shown[10]}
  end
  if not newer and tonumber(ARGV[6]) < tonumber(shown[6]) then
    return {'stale', version, shown[10]}
  end
end

version = math.max(version + 1, tonumber(ARGV[9]))
local text = string.format('%.0f', version)
local json = '{"version":' .. text .. ',' .. ARGV[10]
local fields = {'version', text, 'json', json}
for index = 11, #ARGV do
  fields[#fields + 1] = ARGV[index]
end
redis.call('HSET', key, unpack(fields))
redis.call('PUBLISH', key, json)
return {'shown', version, ''}
