package airtally.peers;

/** What the bench tells a peer, in its environment (bench/peers/__init__.py says what each is). */
public record Setup(
    String kafka, String topic, String group, String redis, String state, int votesPerVoter, int parallelism)
    implements java.io.Serializable {

  public static Setup read() {
    return new Setup(
        System.getenv("PEER_KAFKA"),
        System.getenv("PEER_TOPIC"),
        System.getenv("PEER_GROUP"),
        System.getenv("PEER_REDIS_URL"),
        System.getenv("PEER_STATE"),
        Integer.parseInt(System.getenv("PEER_VOTES_PER_VOTER")),
        Integer.parseInt(System.getenv("PEER_PARALLELISM")));
  }
}
