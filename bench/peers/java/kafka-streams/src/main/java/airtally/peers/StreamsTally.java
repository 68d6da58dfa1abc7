package airtally.peers;

import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.Stores;

/**
 * The count on Kafka Streams, as its documentation advises: the topic is keyed by voter already, so one processor with
 * two stores and their changelogs does it, under exactly_once_v2.
 */
public final class StreamsTally {
  public static void main(String[] arguments) {
    Setup setup = Setup.read();
    boolean inMemory = "memory".equals(System.getenv("PEER_STORE"));
    KafkaStreams streams = new KafkaStreams(topology(setup, inMemory), properties(setup));
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
  }

  private static Topology topology(Setup setup, boolean inMemory) {
    Topology topology = new Topology();
    topology.addSource("votes", new ByteArrayDeserializer(), new ByteArrayDeserializer(), setup.topic());
    topology.addProcessor("count", () -> new CountProcessor(setup), "votes");
    // Cached: a voter's votes come close together, and between two commits only the last value goes to the changelog.
    topology.addStateStore(
        Stores.keyValueStoreBuilder(store(CountProcessor.VOTERS, inMemory), Serdes.Bytes(), Serdes.ByteArray())
            .withCachingEnabled(),
        "count");
    topology.addStateStore(
        Stores.keyValueStoreBuilder(store(CountProcessor.NUMBERS, inMemory), Serdes.String(), Serdes.Long())
            .withCachingEnabled(),
        "count");
    return topology;
  }

  private static KeyValueBytesStoreSupplier store(String name, boolean inMemory) {
    return inMemory ? Stores.inMemoryKeyValueStore(name) : Stores.persistentKeyValueStore(name);
  }

  private static Properties properties(Setup setup) {
    Properties properties = new Properties();
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, setup.group());
    properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, setup.kafka());
    properties.put(StreamsConfig.STATE_DIR_CONFIG, setup.state());
    properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, setup.parallelism());
    properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1_000);
    properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 256L << 20);
    properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
    properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 << 20);
    properties.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 20);
    properties.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
    return properties;
  }

  private StreamsTally() {}
}
