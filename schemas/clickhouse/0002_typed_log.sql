-- The log, typed: what ClickHouse reads in key and value of each record, one row for each, whatever merges have done so far
-- (hence FINAL). It shares no code with the tally, so that a recount is a second opinion.
--
-- A valid record is what pipeline/domain/record.py says, and tests hold the two to each other. Three things need care:
--   * of a key that stands twice the last holds, and JSONExtract would take the first: hence a map, made in reverse;
--   * ClickHouse reads an integer beyond 64 bits as a text, and never as infinite: `odd_sized` makes a double of it;
--   * and it writes the double 1.0 as 1, but only an integer is an integer: `odd_json` puts -1, which is never valid, for it.
-- Nothing here may raise an exception, whatever the bytes.
CREATE VIEW IF NOT EXISTS typed_log
(
  topic LowCardinality(String)
    COMMENT 'Kafka topic',
  partition UInt32
    COMMENT 'Kafka partition',
  offset UInt64
    COMMENT 'Kafka offset: with topic and partition, the identity of a record',
  append_time DateTime64(3, 'UTC')
    COMMENT 'When the broker appended the record',
  key Nullable(String)
    COMMENT 'Record key, byte for byte',
  value Nullable(String)
    COMMENT 'Record value, byte for byte. NULL: a tombstone',
  headers Array(Tuple(name String, value Nullable(String)))
    COMMENT 'Record headers, values byte for byte',
  kind Enum8('malformed' = 0, 'vote' = 1, 'poll.opened' = 2, 'poll.closed' = 3, 'poll.final' = 4,
    'votes.voided' = 5, 'votes.reinstated' = 6)
    COMMENT 'What the record is, after a look at every field that its kind must or may have',
  show_id LowCardinality(String)
    COMMENT 'Show. Empty, as all ids: there is none, or it has not the form of one',
  poll_id LowCardinality(String)
    COMMENT 'Poll: unique within its show',
  option_id LowCardinality(String)
    COMMENT 'Option that a vote is for',
  vote_id UUID
    COMMENT 'Identity of a vote, made by the viewer''s client: the same each time it is sent. Zero: none',
  voter_id String
    COMMENT 'Pseudonym of the voter, of a valid vote',
  cast_at_ms UInt64
    COMMENT 'When the edge received the vote, ms since the epoch. Zero also where there is no such number',
  edge_id LowCardinality(String)
    COMMENT 'Edge that received the vote',
  channel LowCardinality(String)
    COMMENT 'Way by which the vote came: web, app, ...',
  misrouted_voter_id String
    COMMENT 'The voter, if the record''s key is another text. Empty where the key is the voter: one text is stored, not two',
  marker_at_ms UInt64
    COMMENT 'opened_at of an opening marker, closed_at of a closing marker, ms since the epoch. Zero: neither',
  option_ids Array(String)
    COMMENT 'Options of an opening marker, in its order',
  votes_per_voter UInt32
    COMMENT 'Votes of one voter that count, of an opening marker',
  dedupe_horizon_ms UInt64
    COMMENT 'Length of the epochs in which vote ids are remembered, of an opening marker. Zero: the whole poll',
  void_id LowCardinality(String)
    COMMENT 'Void that is decided or taken back, of such a marker',
  reason String
    COMMENT 'Why, of such a marker. Any text',
  author String
    COMMENT 'Who decided it, of such a marker. Any text',
  condition Tuple(edge_ids Array(String), channels Array(String), voter_ids Array(String), voters_from String, voters_to String,
      cast_from_ms UInt64, cast_before_ms Nullable(UInt64))
    COMMENT 'Which votes a void strikes: those that meet all of these. Empty, zero, NULL: no such condition'
)
AS
WITH
  -- body: The value, or nothing where it is refused unread: NULL, too long, too many brackets, a byte order mark
  bounded AS
  (
    SELECT
      *,
      if(length(value) <= 131072
          AND countSubstrings(assumeNotNull(value), '{') + countSubstrings(assumeNotNull(value), '[') <= 512
          AND NOT startsWith(assumeNotNull(value), '\xEF\xBB\xBF'),
        assumeNotNull(value), '') AS body
    FROM votes_log FINAL
  ),
  -- has_odd_number: Whether a number in the body may be a double, or an integer beyond 64 bits
  weighed AS
  (
    SELECT
      *,
      match(body, '[:,\\[]\\s*-?(?:[0-9]+[.eE]|[0-9]{19})') AS has_odd_number
    FROM bounded
  ),
  -- odd_body: The body if it has such a number, else nothing
  -- odd_sized: That, with each integer beyond 64 bits made a double (in two goes, as neighbours share a comma)
  sized AS
  (
    SELECT
      *,
      if(has_odd_number, body, '') AS odd_body,
      replaceRegexpAll(
        replaceRegexpAll(odd_body, '([:,\\[]\\s*-?[1-9][0-9]{18,})(\\s*[,\\]}])', '\\1e0\\2'),
        '([:,\\[]\\s*-?[1-9][0-9]{18,})(\\s*[,\\]}])', '\\1e0\\2') AS odd_sized
    FROM weighed
  ),
  -- odd_json: That, with -1 for each double; nothing if it is not JSON, as when a double is infinite
  whole AS
  (
    SELECT
      *,
      if(isValidJSON(odd_sized),
        replaceRegexpAll(
          odd_sized, '([:,\\[]\\s*)-?[0-9]+(?:\\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)', '\\1-1'),
        '') AS odd_json
    FROM sized
  ),
  -- json: The body, or odd_json where there is one
  read AS
  (
    SELECT
      *,
      if(has_odd_number, odd_json, body) AS json
    FROM whole
  ),
  -- field: Each field of the record as JSON text, doubles as -1. Empty: not a JSON object
  parsed AS
  (
    SELECT
      *,
      mapFromArrays(
        arrayReverse(JSONExtractKeysAndValuesRaw(json).1),
        arrayReverse(JSONExtractKeysAndValuesRaw(json).2)) AS field
    FROM read
  ),
  typed AS
  (
    SELECT
      *,
      extract(field['show_id'], '^"([a-z0-9][a-z0-9-]{0,62})"$') AS show_id,
      extract(field['poll_id'], '^"([a-z0-9][a-z0-9-]{0,62})"$') AS poll_id,
      extract(field['option_id'], '^"([a-z0-9][a-z0-9-]{0,62})"$') AS option_id,
      extract(field['edge_id'], '^"([a-z0-9][a-z0-9-]{0,62})"$') AS edge_id,
      extract(field['channel'], '^"([a-z0-9][a-z0-9-]{0,62})"$') AS channel,
      match(field['vote_id'], '^"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"$') AS has_vote_id,
      toUUIDOrZero(if(has_vote_id, substring(field['vote_id'], 2, 36), '')) AS vote_id,
      match(field['voter_id'], '^"[A-Za-z0-9_-]{1,64}"$') AS has_voter_id,
      if(concat('"', ifNull(key, ''), '"') = field['voter_id'], '',
        if(has_voter_id, substring(field['voter_id'], 2, length(field['voter_id']) - 2), '')) AS misrouted_voter_id,
      toUInt64OrZero(field['cast_at']) AS cast_at_ms,
      if(field['type'] = '"poll.opened"', body, '') AS opening,
      if(field['type'] IN ('"votes.voided"', '"votes.reinstated"'), body, '') AS decision,
      if(field['type'] = '"votes.voided"', field, map()) AS given,
      arrayMap(
        fields -> mapFromArrays(
          arrayReverse(JSONExtractKeysAndValuesRaw(fields).1), arrayReverse(JSONExtractKeysAndValuesRaw(fields).2)),
        JSONExtractArrayRaw(if(field['type'] = '"poll.opened"', field['options'], ''))) AS opening_option
    FROM parsed
  ),
  measured AS
  (
    SELECT
      *,
      arrayMap(
        fields -> lengthUTF8(JSONExtractString(arrayFirst(
          pair -> pair.1 = 'label', arrayReverse(JSONExtractKeysAndValuesRaw(fields))).2)),
        JSONExtractArrayRaw(arrayFirst(
          pair -> pair.1 = 'options', arrayReverse(JSONExtractKeysAndValuesRaw(opening))).2)) AS opening_label_length,
      -- Texts are read from the body, as labels are: in `json` a double is replaced, also one inside a text.
      arrayReverse(JSONExtractKeysAndValuesRaw(decision)) AS decided,
      JSONExtractString(arrayFirst(pair -> pair.1 = 'reason', decided).2) AS decided_reason,
      JSONExtractString(arrayFirst(pair -> pair.1 = 'author', decided).2) AS decided_author
    FROM typed
  ),
  chosen AS
  (
    SELECT
      *,
      length(opening_option) BETWEEN 1 AND 100
        AND length(arrayDistinct(arrayMap(fields -> fields['id'], opening_option))) = length(opening_option)
        AND arrayAll(
          (fields, number) ->
            match(fields['id'], '^"[a-z0-9][a-z0-9-]{0,62}"$')
            AND (fields['label'] IN ('', 'null')
              OR (startsWith(fields['label'], '"') AND opening_label_length[number] BETWEEN 1 AND 200))
            AND match(fields['color'], '^(?:null|"#[0-9A-Fa-f]{6}")?$'),
          opening_option, arrayEnumerate(opening_option)) AS has_options,
      match(field['void_id'], '^"[a-z0-9][a-z0-9-]{0,62}"$')
        AND startsWith(field['reason'], '"') AND lengthUTF8(decided_reason) BETWEEN 1 AND 500
        AND startsWith(field['author'], '"') AND lengthUTF8(decided_author) BETWEEN 1 AND 100 AS has_decision,
      -- Arrays of ids stand here without spaces and escapes, as ClickHouse writes them.
      length(arrayFilter(name -> given[name] != '', ['edge_ids', 'channels', 'voter_ids', 'voters_from', 'voters_to',
          'cast_from', 'cast_before'])) > 0
        AND arrayAll(
          name -> match(given[name], '^(?:\\["[a-z0-9][a-z0-9-]{0,62}"(?:,"[a-z0-9][a-z0-9-]{0,62}")*\\])?$')
            AND countSubstrings(given[name], ',') < 100,
          ['edge_ids', 'channels'])
        AND match(given['voter_ids'], '^(?:\\["[A-Za-z0-9_-]{1,64}"(?:,"[A-Za-z0-9_-]{1,64}")*\\])?$')
        AND countSubstrings(given['voter_ids'], ',') < 1000
        AND arrayAll(name -> match(given[name], '^(?:"[A-Za-z0-9_-]{1,64}")?$'), ['voters_from', 'voters_to'])
        AND arrayAll(
          name -> match(given[name], '^[0-9]{0,16}$') AND toUInt64OrZero(given[name]) <= 9007199254740991,
          ['cast_from', 'cast_before'])
        AS has_conditions
    FROM measured
  ),
  kinds AS
  (
    SELECT
      *,
      multiIf(
        show_id = '' OR poll_id = '',
        'malformed',

        field['type'] = '"vote"',
        if(has_vote_id AND has_voter_id AND option_id != '' AND edge_id != '' AND channel != ''
            AND match(field['cast_at'], '^[0-9]{1,16}$') AND cast_at_ms <= 9007199254740991,
          'vote', 'malformed'),

        field['type'] = '"poll.opened"',
        if(match(field['opened_at'], '^[0-9]{1,16}$') AND toUInt64OrZero(field['opened_at']) <= 9007199254740991
            AND match(field['votes_per_voter'], '^[0-9]{0,7}$')
            AND (field['votes_per_voter'] = '' OR toUInt64OrZero(field['votes_per_voter']) BETWEEN 1 AND 1000000)
            AND field['window_ms'] IN ('', '1000')
            AND (field['dedupe_horizon_ms'] IN ('', 'null')
              OR (match(field['dedupe_horizon_ms'], '^[0-9]{4,16}$')
                AND toUInt64OrZero(field['dedupe_horizon_ms']) BETWEEN 1000 AND 9007199254740991))
            AND has_options,
          'poll.opened', 'malformed'),

        field['type'] = '"poll.closed"',
        if(match(field['closed_at'], '^[0-9]{1,16}$') AND toUInt64OrZero(field['closed_at']) <= 9007199254740991,
          'poll.closed', 'malformed'),

        field['type'] = '"poll.final"',
        'poll.final',

        field['type'] = '"votes.voided"',
        if(has_decision AND has_conditions, 'votes.voided', 'malformed'),

        field['type'] = '"votes.reinstated"',
        if(has_decision, 'votes.reinstated', 'malformed'),

        'malformed')::Enum8('malformed' = 0, 'vote' = 1, 'poll.opened' = 2, 'poll.closed' = 3, 'poll.final' = 4,
          'votes.voided' = 5, 'votes.reinstated' = 6) AS kind
    FROM chosen
  )
SELECT
  topic, partition, offset, append_time, key, value, headers,
  kind, show_id, poll_id, option_id, vote_id,
  multiIf(kind != 'vote', '', misrouted_voter_id = '', ifNull(key, ''), misrouted_voter_id) AS voter_id,
  cast_at_ms, edge_id, channel, misrouted_voter_id,
  toUInt64OrZero(multiIf(
    kind = 'poll.opened', field['opened_at'],
    kind = 'poll.closed', field['closed_at'],
    '')) AS marker_at_ms,
  if(kind = 'poll.opened',
    arrayMap(fields -> substring(fields['id'], 2, length(fields['id']) - 2), opening_option),
    []) AS option_ids,
  if(kind = 'poll.opened', if(field['votes_per_voter'] = '', 1, toUInt32OrZero(field['votes_per_voter'])), 0) AS votes_per_voter,
  if(kind = 'poll.opened', toUInt64OrZero(field['dedupe_horizon_ms']), 0) AS dedupe_horizon_ms,
  if(kind IN ('votes.voided', 'votes.reinstated'), trim(BOTH '"' FROM field['void_id']), '') AS void_id,
  if(kind IN ('votes.voided', 'votes.reinstated'), decided_reason, '') AS reason,
  if(kind IN ('votes.voided', 'votes.reinstated'), decided_author, '') AS author,
  (
    extractAll(given['edge_ids'], '"([^"]+)"'),
    extractAll(given['channels'], '"([^"]+)"'),
    extractAll(given['voter_ids'], '"([^"]+)"'),
    trim(BOTH '"' FROM given['voters_from']),
    trim(BOTH '"' FROM given['voters_to']),
    toUInt64OrZero(given['cast_from']),
    if(given['cast_before'] = '', NULL, toUInt64OrZero(given['cast_before']))
  )::Tuple(edge_ids Array(String), channels Array(String), voter_ids Array(String), voters_from String, voters_to String,
    cast_from_ms UInt64, cast_before_ms Nullable(UInt64)) AS condition
FROM kinds
COMMENT 'The log, typed: a row for each record'
