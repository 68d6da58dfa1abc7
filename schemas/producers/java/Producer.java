// Publishes votes from Java: lines of vote id, option and voter, separated by tabs.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Producer {
    // What is of this form needs no escaping in JSON. What a viewer sends and is not, could say anything there.
    private static final Pattern ID = Pattern.compile("[a-z0-9][a-z0-9-]{0,62}");
    private static final Pattern VOTE_ID = Pattern.compile("\\p{XDigit}{8}(-\\p{XDigit}{4}){3}-\\p{XDigit}{12}");

    public static void main(String[] arguments) throws Exception {
        String show = arguments[0], poll = arguments[1];
        String topic = System.getenv().getOrDefault("AIRTALLY_TOPIC", "votes");
        String secret = System.getenv().getOrDefault("AIRTALLY_EDGE_SECRET", "");
        if (secret.length() < 32 || !ID.matcher(show).matches() || !ID.matcher(poll).matches()) {
            throw new IllegalArgumentException("show and poll are ids; AIRTALLY_EDGE_SECRET has 32 characters or more");
        }
        byte[] showKey = hmac(secret.getBytes(StandardCharsets.UTF_8), "airtally voter pseudonym 1\0" + show + "\1");

        Properties settings = new Properties();
        settings.put("bootstrap.servers", System.getenv("AIRTALLY_KAFKA"));
        settings.put("acks", "all");
        settings.put("enable.idempotence", "true");
        settings.put("linger.ms", "5");
        settings.put("delivery.timeout.ms", "30000"); // a record that comes to the log later might not count
        settings.put("request.timeout.ms", "20000");
        // The partitioner is the default: murmur2 of the key.

        List<Future<?>> acknowledgements = new ArrayList<>();
        int refused = 0, unknown = 0;
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (String line; (line = lines.readLine()) != null; ) {
                String[] fields = line.split("\t");
                if (fields.length != 3 || !VOTE_ID.matcher(fields[0]).matches() || !ID.matcher(fields[1]).matches()) {
                    refused++;
                    continue;
                }
                byte[] code = Arrays.copyOf(hmac(showKey, fields[2]), 16); // the person stays here
                String voterId = Base64.getUrlEncoder().withoutPadding().encodeToString(code);
                String vote = "{\"type\":\"vote\",\"vote_id\":\"" + fields[0] + "\",\"show_id\":\"" + show
                    + "\",\"poll_id\":\"" + poll + "\",\"option_id\":\"" + fields[1] + "\",\"voter_id\":\"" + voterId
                    + "\",\"cast_at\":" + System.currentTimeMillis() + ",\"edge_id\":\"java-1\",\"channel\":\"web\"}";
                acknowledgements.add(producer.send(new ProducerRecord<>(topic, voterId, vote)));
            }
            for (Future<?> acknowledgement : acknowledgements) {
                try {
                    acknowledgement.get();
                } catch (ExecutionException failed) {
                    unknown++; // in the log or not: the viewer sends it again, with the same id
                }
            }
        }
        System.out.println(acknowledgements.size() - unknown + " acknowledged");
        if (refused + unknown > 0) {
            System.err.println(refused + " refused: no vote; " + unknown + " not acknowledged within 30 s");
            System.exit(1);
        }
    }

    private static byte[] hmac(byte[] key, String text) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }
}
