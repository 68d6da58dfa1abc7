-- Apply one chunk of a partition's log to its ledger, all or nothing.
--
-- KEYS     every key that is touched, all in the partition's hash slot; KEYS[1] is the head.
-- ARGV[1]  the chunk, msgpack (pipeline/ledger/command.py writes it); where it names a key, it gives its index in KEYS.
-- ARGV[2...]  what is remembered of single votes, each to be put at the end of the list chunk.remembered[...] .
-- Returns  {answer, the ledger's next offset}. Answers as in pipeline/domain/partition.py, which is this script in Python.
--
-- What a chunk adds was decided by the worker, from the state that this ledger had at the chunk's first offset. So the
-- comparison of offsets is all that must be right here: a worker whose state is another one's past cannot write.
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

for _, poll in ipairs(chunk.polls) do
  redis.call('SADD', KEYS[2], poll.name)
  redis.call('HSET', KEYS[poll.key], 'rules', poll.rules, 'state', poll.state, 'status', poll.status)
end

for _, hash in ipairs(chunk.numbers) do
  for field, number in pairs(hash.more) do
    redis.call('HINCRBY', KEYS[hash.key], field, number)
  end
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

for index, key in ipairs(chunk.remembered) do
  redis.call('RPUSH', KEYS[key], ARGV[1 + index])
end
for _, poll in ipairs(chunk.votes_of) do
  for voter, votes in pairs(poll.votes) do
    redis.call('HSET', KEYS[poll.key], voter, votes)
  end
end
for _, key in ipairs(chunk.forgotten) do
  redis.call('UNLINK', KEYS[key])
end
return {'applied', chunk.next_offset}
