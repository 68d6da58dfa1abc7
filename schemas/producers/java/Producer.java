// Publishes votes from Java: lines of vote id, option and voter, separated by tabs.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Producer {
    public static void main(String[] arguments) throws Exception {
        String show = arguments[0], poll = arguments[1];
        String topic = System.getenv().getOrDefault("AIRTALLY_TOPIC", "votes");
        byte[] secret = System.getenv("AIRTALLY_EDGE_SECRET").getBytes(StandardCharsets.UTF_8);
        byte[] showKey = hmac(secret, "airtally voter pseudonym 1\0" + show + "\1");

        Properties settings = new Properties();
        settings.put("bootstrap.servers", System.getenv("AIRTALLY_KAFKA"));
        settings.put("acks", "all");
        settings.put("enable.idempotence", "true");
        settings.put("linger.ms", "5");
        // The partitioner is the default: murmur2 of the key.

        List<Future<?>> acknowledgements = new ArrayList<>();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (String line; (line = lines.readLine()) != null; ) {
                String[] fields = line.split("\t");
                byte[] code = Arrays.copyOf(hmac(showKey, fields[2]), 16);
                String voterId = Base64.getUrlEncoder().withoutPadding().encodeToString(code);
                // All of it is ids, which need no escaping in JSON.
                String vote = String.format(
                    "{\"type\":\"vote\",\"vote_id\":\"%s\",\"show_id\":\"%s\",\"poll_id\":\"%s\",\"option_id\":\"%s\","
                        + "\"voter_id\":\"%s\",\"cast_at\":%d,\"edge_id\":\"java-1\",\"channel\":\"web\"}",
                    fields[0], show, poll, fields[1], voterId, System.currentTimeMillis());
                acknowledgements.add(producer.send(new ProducerRecord<>(topic, voterId, vote)));
            }
            for (Future<?> acknowledgement : acknowledgements) {
                acknowledgement.get();
            }
        }
        System.out.println(acknowledgements.size() + " acknowledged");
    }

    private static byte[] hmac(byte[] key, String text) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }
}
