-- Apply one chunk of a partition's log to its ledger, all or nothing.
--
-- KEYS     every key that is touched, all in the partition's hash slot; KEYS[1] is the head.
-- ARGV[1]  the chunk, msgpack (pipeline/ledger/command.py writes it); where it names a key, it gives its index in KEYS.
-- ARGV[1+g] the vote ids of the chunk's group g, 16 bytes each.
-- Returns  {answer, the ledger's next offset}, and when applied the numbers of counted, duplicate and over_limit votes.
--          Answers as in pipeline/domain/partition.py, which is this script in Python.
--
-- Nothing here may fail after the first write. So all that could is looked at first: the head, the chunk's place, and the
-- type of every key. The first write is one that Redis refuses when its memory is full (under noeviction), and a script
-- that has written is not refused later. Written for Redis 6.2, 7 and Valkey.

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

-- Small numbers as text, made once: Redis would write each of them with all the care that a fraction needs.
local text_of = setmetatable({}, {__index = function(texts, number)
  texts[number] = string.format('%.0f', number)
  return texts[number]
end})

-- Rules 8 to 10, vote by vote in the order of the log. Redis is asked once for all vote ids and once for all voters of a
-- group: a call for each vote would cost more than everything else here.
for number, group in ipairs(chunk.groups) do
  local counted, duplicate, over_limit = {}, 0, 0
  for cell = 1, #group.cells do
    counted[cell] = 0
  end

  local vote_ids, blob = {}, ARGV[1 + number]
  for index = 1, #group.voter_ids do
    vote_ids[index] = string.sub(blob, 16 * index - 15, 16 * index)
  end
  local known = redis.call('SMISMEMBER', KEYS[group.now], unpack(vote_ids))
  local known_before = group.horizon and redis.call('SMISMEMBER', KEYS[group.before], unpack(vote_ids))
  local fresh, voters, seen = {}, {}, {}
  for index, vote_id in ipairs(vote_ids) do
    if known[index] == 1 or seen[vote_id] or (known_before and known_before[index] == 1) then
      duplicate = duplicate + 1
    else
      fresh[#fresh + 1] = index
      voters[#voters + 1] = group.voter_ids[index]
    end
    seen[vote_id] = true
  end
  redis.call('SADD', KEYS[group.now], unpack(vote_ids))

  if #voters > 0 then
    local had, has, changes = redis.call('HMGET', KEYS[group.voters], unpack(voters)), {}, {}
    for index, voter in ipairs(voters) do
      local votes = has[voter] or tonumber(had[index] or 0)
      if votes >= group.votes_per_voter then
        over_limit = over_limit + 1
      else
        votes = votes + 1
        local cell = group.cell_of[fresh[index]] + 1
        counted[cell] = counted[cell] + 1
        changes[#changes + 1] = voter
        changes[#changes + 1] = text_of[votes]
      end
      has[voter] = votes
    end
    if #changes > 0 then
      redis.call('HSET', KEYS[group.voters], unpack(changes))
    end
  end

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
  local decided = {counted = sum, duplicate = duplicate, over_limit = over_limit}
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
