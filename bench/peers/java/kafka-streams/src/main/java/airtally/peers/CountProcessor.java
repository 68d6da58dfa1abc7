package airtally.peers;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** Dedupes by vote id, holds each voter to the limit, and adds up; one for each partition. */
final class CountProcessor implements Processor<byte[], byte[], Void, Void> {
  static final String VOTERS = "voters";
  static final String NUMBERS = "numbers";
  private static final int ID_BYTES = 16;

  private final Setup setup;
  private KeyValueStore<Bytes, byte[]> voters; // 16 bytes for each vote id
  private KeyValueStore<String, Long> numbers;
  private final Map<String, Long> changed = new HashMap<>();
  private Air air;

  CountProcessor(Setup setup) {
    this.setup = setup;
  }

  @Override
  public void init(ProcessorContext<Void, Void> context) {
    voters = context.getStateStore(VOTERS);
    numbers = context.getStateStore(NUMBERS);
    air = new Air(setup.redis(), context.taskId().partition());
    context.schedule(Duration.ofMillis(Air.WRITE_EVERY_MS), PunctuationType.WALL_CLOCK_TIME, this::write);
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    Vote vote = Vote.parse(record.value());
    if (vote != null) {
      String name = outcome(Bytes.wrap(record.key()), vote);
      Long before = numbers.get(name);
      Long after = before == null ? 1L : before + 1;
      numbers.put(name, after);
      changed.put(name, after);
    }
  }

  private String outcome(Bytes voter, Vote vote) {
    byte[] ids = voters.get(voter);
    int length = ids == null ? 0 : ids.length;
    ByteBuffer more = ByteBuffer.allocate(length + ID_BYTES);
    if (ids != null) {
      more.put(ids);
    }
    for (int at = 0; at < length; at += ID_BYTES) {
      if (more.getLong(at) == vote.idHigh && more.getLong(at + 8) == vote.idLow) {
        return "duplicate";
      }
    }
    voters.put(voter, more.putLong(vote.idHigh).putLong(vote.idLow).array());
    return length / ID_BYTES >= setup.votesPerVoter() ? "over_limit" : vote.cell;
  }

  private void write(long now) {
    air.write(changed);
    changed.clear();
  }

  @Override
  public void close() {
    air.close();
  }
}
