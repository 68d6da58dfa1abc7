package airtally.peers;

import java.net.URI;
import java.util.HashMap;
import java.util.Map;
import redis.clients.jedis.Jedis;

/** The result in Redis: the hash "tally:SHARD", a field for each cell and outcome, absolute numbers. */
public final class Air implements AutoCloseable {
  /** How often the numbers are written. */
  public static final long WRITE_EVERY_MS = 200;

  private final Jedis redis;
  private final String key;

  public Air(String url, int shard) {
    redis = new Jedis(URI.create(url));
    key = "tally:" + shard;
  }

  /** Write numbers; one that is written twice is the same number. */
  public void write(Map<String, Long> numbers) {
    if (!numbers.isEmpty()) {
      Map<String, String> texts = new HashMap<>();
      numbers.forEach((name, number) -> texts.put(name, Long.toString(number)));
      redis.hset(key, texts);
    }
  }

  @Override
  public void close() {
    redis.close();
  }
}
