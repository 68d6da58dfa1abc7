package airtally.peers;

import java.nio.file.Path;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.DataStreamUtils;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/**
 * The count on Apache Flink, as its documentation advises: a KafkaSource, keyed state on the heap, an exactly-once
 * checkpoint each second, and numbers that a replay overwrites with the same numbers (an idempotent sink).
 */
public final class FlinkTally {
  private static final int CHECKPOINT_EVERY_MS = 1_000;

  public static void main(String[] arguments) throws Exception {
    Setup setup = Setup.read();
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.createLocalEnvironment(setup.parallelism(), configuration(setup));
    environment.enableCheckpointing(CHECKPOINT_EVERY_MS, CheckpointingMode.EXACTLY_ONCE);
    DataStream<Vote> votes =
        environment.fromSource(source(setup), WatermarkStrategy.noWatermarks(), "votes");
    byVoter(votes).process(new CountFunction(setup)).name("count").uid("count");
    environment.execute("tally");
  }

  /**
   * Ordinarily by keyBy. Chained: with a single subtask the stream counts as keyed as it comes, so that source and count
   * need no exchange between them. That API is experimental, and such a job can never have a second subtask.
   */
  private static KeyedStream<Vote, String> byVoter(DataStream<Vote> votes) {
    return "1".equals(System.getenv("PEER_CHAINED"))
        ? DataStreamUtils.reinterpretAsKeyedStream(votes, vote -> vote.voterId)
        : votes.keyBy(vote -> vote.voterId);
  }

  private static Configuration configuration(Setup setup) {
    Configuration configuration = new Configuration();
    configuration.set(StateBackendOptions.STATE_BACKEND, "hashmap");
    configuration.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
    configuration.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, Path.of(setup.state()).toUri().toString());
    configuration.set(PipelineOptions.OBJECT_REUSE, true);
    return configuration;
  }

  private static KafkaSource<Vote> source(Setup setup) {
    return KafkaSource.<Vote>builder()
        .setBootstrapServers(setup.kafka())
        .setTopics(setup.topic())
        .setGroupId(setup.group())
        .setStartingOffsets(OffsetsInitializer.earliest())
        .setDeserializer(new VoteSchema())
        .setProperty("max.poll.records", "5000")
        .setProperty("max.partition.fetch.bytes", "4194304")
        .build();
  }

  private static final class VoteSchema implements KafkaRecordDeserializationSchema<Vote> {
    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Vote> out) {
      Vote vote = Vote.parse(record.value());
      if (vote != null) {
        out.collect(vote);
      }
    }

    @Override
    public TypeInformation<Vote> getProducedType() {
      return TypeInformation.of(Vote.class);
    }
  }

  private FlinkTally() {}
}
