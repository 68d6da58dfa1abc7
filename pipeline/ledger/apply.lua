-- Apply one chunk of a partition's log to its ledger, all or nothing.
--
-- KEYS     every key that is touched, all in the partition's hash slot; KEYS[1] is the head.
-- ARGV[1]  the chunk, msgpack (pipeline/ledger/command.py writes it); where it names a key, it gives its index in KEYS.
-- ARGV[2g], ARGV[2g+1]  of the chunk's group g the vote ids, 16 bytes each, and the voters, 18 bytes each.
-- Returns  {answer, the ledger's next offset}, and when applied the numbers of counted, duplicate and over_limit votes.
--          Answers as in pipeline/domain/partition.py, which is this script in Python.
--
-- Nothing here may fail after the first write. So all that could is looked at first: the head, the chunk's place, and the
-- type of every key. The first write is one that Redis refuses when its memory is full (under noeviction), and a script
-- that has written is not refused later. Written for Redis 6.2, 7 and Valkey.

local call, find, sub = redis.call, string.find, string.sub  -- as locals they are found faster
local chunk = cmsgpack.unpack(ARGV[1])

local head = redis.call('HMGET', KEYS[1], 'next_offset', 'format')
local next_offset = tonumber(head[1] or -1)
if next_offset < 0 then
  return {'gap', -1}
end
if tonumber(head[2]) ~= chunk.format then
  return redis.error_reply('AIRTALLY ledger ' .. KEYS[1] .. ' has format ' .. tostring(head[2])
    .. ', this worker writes ' .. chunk.format)
end
if chunk.next_offset <= next_offset then
  return {'seen', next_offset}
end
if chunk.first_offset ~= next_offset then
  return {chunk.first_offset < next_offset and 'overlap' or 'gap', next_offset}
end
for index, expected in ipairs(chunk.types) do
  local found = redis.call('TYPE', KEYS[index])['ok']
  if found ~= expected and found ~= 'none' then
    return redis.error_reply('AIRTALLY key ' .. KEYS[index] .. ' holds a ' .. found .. ', not a ' .. expected)
  end
end

redis.call('HSET', KEYS[1], 'next_offset', string.format('%.0f', chunk.next_offset),
  'clock_ms', string.format('%.0f', chunk.clock_ms))

local all = {counted = 0, duplicate = 0, over_limit = 0}

local function count(key, prefix, numbers)
  for name, number in pairs(numbers) do
    if number > 0 then
      redis.call('HINCRBY', key, prefix .. name, number)
    end
  end
end

for _, poll in ipairs(chunk.polls) do
  redis.call('SADD', KEYS[2], poll.name)
  redis.call('HSET', KEYS[poll.key], 'rules', poll.rules, 'state', poll.state, 'status', poll.status)
end

for _, poll in ipairs(chunk.poll_outcomes) do
  count(KEYS[poll.key], 'outcome:', poll.outcomes)
end

-- When each edge was heard last, of the first edges of a poll: once their number is reached, only those known are written.
for _, poll in ipairs(chunk.edges) do
  local key, changes = KEYS[poll.key], {}
  local room = chunk.max_edges - redis.call('HLEN', key)
  local known = room < #poll.ids and redis.call('HMGET', key, unpack(poll.ids))
  for index, edge in ipairs(poll.ids) do
    local new = known and not known[index]
    if not new or room > 0 then
      changes[#changes + 1] = edge
      changes[#changes + 1] = poll.times[index]
      room = new and room - 1 or room
    end
  end
  if #changes > 0 then
    redis.call('HSET', key, unpack(changes))
  end
end

-- A voter's count of votes as it stands after the voter in a bucket: so many bytes, the most significant first. None are
-- needed where a voter has one vote: then being there says it.
local function text(votes, width)
  if width == 0 then
    return ''
  elseif width == 1 then
    return string.char(votes)
  end
  return string.char(math.floor(votes / 65536), math.floor(votes / 256) % 256, votes % 256)
end

local function votes_at(bucket, at, width)
  if width == 0 then
    return 1
  elseif width == 1 then
    return string.byte(bucket, at)
  end
  local high, middle, low = string.byte(bucket, at, at + 2)
  return high * 65536 + middle * 256 + low
end

-- What remembers single votes is packed (schemas/redis.md): a hash of buckets, each of which is a run of records of one
-- size. Two bytes name a record's bucket, the others stand in it.

-- Where in a bucket a record begins, if it does. A match that begins elsewhere is made of parts of two records.
local function place(bucket, record, size)
  local at = find(bucket, record, 1, true)
  while at and (at - 1) % size ~= 0 do
    at = find(bucket, record, at + 1, true)
  end
  return at
end

-- Read buckets, as a table by name. One call for all: a call for each would cost more than everything else here.
local function read_buckets(key, names)
  local buckets = {}
  if #names > 0 then
    local found = call('HMGET', key, unpack(names))
    for index = 1, #names do
      buckets[names[index]] = found[index] or ''
    end
  end
  return buckets
end

-- A bucket may be named twice; it is the same bucket.
local function write_buckets(key, names, buckets)
  local fields = {}
  for index, name in ipairs(names) do
    fields[2 * index - 1] = name
    fields[2 * index] = buckets[name]
  end
  if #fields > 0 then
    call('HSET', key, unpack(fields))
  end
end

-- Rule 8, vote by vote in the order of the log: remember all ids; give the places in the group of those that are new.
local function new_votes(group, ids)
  local names, fresh, changed, news, changes = {}, {}, {}, 0, 0
  for index = 1, group.size do
    names[index] = sub(ids, 16 * index - 1, 16 * index)
  end
  local now, before = read_buckets(KEYS[group.ids], names), nil
  if group.horizon then
    before = read_buckets(KEYS[group.ids_before], names)
  end
  local full = group.full_bytes
  local function known_before(name, record)
    local bucket = before[name]
    return place(bucket, record, 14)
      or #bucket >= full and call('SISMEMBER', KEYS[group.more_ids_before], record .. name) == 1
  end
  for index = 1, group.size do
    local name, record = names[index], sub(ids, 16 * index - 15, 16 * index - 2)
    local bucket = now[name]
    local known = place(bucket, record, 14)
    if not known then
      if #bucket < full then
        now[name] = bucket .. record
        changes = changes + 1
        changed[changes] = name
      else
        known = call('SADD', KEYS[group.more_ids], record .. name) == 0
      end
    end
    if not known and not (before and known_before(name, record)) then
      news = news + 1
      fresh[news] = index
    end
  end
  write_buckets(KEYS[group.ids], changed, now)
  return fresh
end

-- Rules 9 and 10: how many votes of each cell are counted, and how many are over their voter's limit.
local function count_votes(group, fresh, voters)
  local counted, over_limit = {}, 0
  for cell = 1, #group.cells do
    counted[cell] = 0
  end
  local limit, width, full, long_voters, cell_of =
    group.votes_per_voter, group.count_bytes, group.full_bytes, group.long_voters, group.cell_of
  local size, first_count, names, changed, changes = 15 + width, text(1, width), {}, {}, 0
  for index = 1, #fresh do
    names[index] = sub(voters, 18 * fresh[index] - 1, 18 * fresh[index])
  end
  local buckets = read_buckets(KEYS[group.voters], names)

  local function count_apart(voter)
    local votes = tonumber(call('HGET', KEYS[group.more_voters], voter) or 0)
    if votes < limit then
      call('HSET', KEYS[group.more_voters], voter, votes + 1)
    end
    return votes
  end

  for index = 1, #fresh do
    local vote, name, votes = fresh[index], names[index], 0
    local bucket, record = buckets[name], sub(voters, 18 * vote - 16, 18 * vote - 2)
    local at = place(bucket, record, size)
    if long_voters[vote] then
      votes = count_apart(long_voters[vote])
    elseif at then
      votes = votes_at(bucket, at + 15, width)
      if votes < limit then
        buckets[name] = sub(bucket, 1, at + 14) .. text(votes + 1, width) .. sub(bucket, at + size)
        changes = changes + 1
        changed[changes] = name
      end
    elseif #bucket < full then
      buckets[name] = bucket .. record .. first_count
      changes = changes + 1
      changed[changes] = name
    else
      votes = count_apart(record .. name)
    end
    if votes < limit then
      local cell = cell_of[vote] + 1
      counted[cell] = counted[cell] + 1
    else
      over_limit = over_limit + 1
    end
  end
  write_buckets(KEYS[group.voters], changed, buckets)
  return counted, over_limit
end

for place_of, group in ipairs(chunk.groups) do
  local fresh = new_votes(group, ARGV[2 * place_of])
  local counted, over_limit = count_votes(group, fresh, ARGV[2 * place_of + 1])

  local sum, totals = 0, {}
  for cell, name in ipairs(group.cells) do
    local option, votes = name[1], counted[cell]
    sum = sum + votes
    totals[option] = (totals[option] or 0) + votes
    if votes > 0 then
      redis.call('HINCRBY', KEYS[group.windows], string.format('%.0f', name[2]) .. '/' .. option, votes)
    end
  end
  count(KEYS[group.poll], 'total:', totals)
  local decided = {counted = sum, duplicate = group.size - #fresh, over_limit = over_limit}
  count(KEYS[group.poll], 'outcome:', decided)
  for name, votes in pairs(decided) do
    all[name] = all[name] + votes
  end
end

count(KEYS[1], 'outcome:', chunk.outcomes)
count(KEYS[1], 'outcome:', all)
for _, key in ipairs(chunk.forgotten) do
  redis.call('UNLINK', KEYS[key])
end
return {'applied', chunk.next_offset, all.counted, all.duplicate, all.over_limit}
