package airtally.peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.UUID;

/** What counting needs of a vote. Public fields and an empty constructor: a plain Flink POJO. */
public final class Vote {
  private static final JsonFactory JSON = new JsonFactory();

  public String voterId;
  public long idHigh;
  public long idLow;

  /** The second in which it was cast (its start, ms since the epoch) and the option: "1700000000000/ada". */
  public String cell;

  public Vote() {}

  /** Read a record's value; null if it is not a vote (a poll marker). */
  public static Vote parse(byte[] value) {
    try (JsonParser parser = JSON.createParser(value)) {
      return parse(parser);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static Vote parse(JsonParser parser) throws IOException {
    Vote vote = new Vote();
    String option = null;
    long castAt = 0;
    parser.nextToken();
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String name = parser.currentName();
      parser.nextToken();
      switch (name) {
        case "type" -> {
          if (!"vote".equals(parser.getText())) {
            return null;
          }
        }
        case "vote_id" -> {
          UUID id = UUID.fromString(parser.getText());
          vote.idHigh = id.getMostSignificantBits();
          vote.idLow = id.getLeastSignificantBits();
        }
        case "voter_id" -> vote.voterId = parser.getText();
        case "option_id" -> option = parser.getText();
        case "cast_at" -> castAt = parser.getLongValue();
        default -> parser.skipChildren();
      }
    }
    vote.cell = (castAt - castAt % 1000) + "/" + option;
    return vote;
  }
}
