import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.MessageDigest;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * Calls AWS by its own names with both of Java's clients, in whose code no word is of a proxy or of certificates, under `frontdesk exec`: the gateway with a key, the
 * agent with a signature. Each is then refused, as AWS would.
 *
 * The environment is `exec`'s; API_ID names an API and API_KEY opens it, AGENT_ARN names its agent. Run as a single file: `java Exec.java`.
 */
class Exec {
    record Answer(int status, String body) {}

    interface Client {
        Answer post(String url, Map<String, String> headers, String body) throws Exception;
    }

    static final String QUESTION = "{\"prompt\": \"How do I activate roaming?\", \"actor_id\": \"a\", \"thread_id\": \"t\"}";
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    public static void main(String[] arguments) throws Exception {
        String invoke = "https://" + System.getenv("API_ID") + ".execute-api.us-east-1.amazonaws.com/prod/invoke";
        String arn = URLEncoder.encode(System.getenv("AGENT_ARN"), UTF_8);
        String agent = "https://bedrock-agentcore.us-east-1.amazonaws.com/runtimes/" + arn + "/invocations";
        Map<String, String> json = Map.of("content-type", "application/json");
        Map<String, String> key = Map.of("content-type", "application/json", "x-api-key", System.getenv("API_KEY"));
        Client[] clients = {Exec::withHttpClient, Exec::withUrlConnection};
        for (Client client : clients) {
            check(client.post(invoke, key, QUESTION), 200, "roaming");
            check(client.post(invoke, json, QUESTION), 403, "{\"message\":\"Forbidden\"}");
            check(client.post(agent, signed(agent), QUESTION), 200, "roaming");
            check(client.post(agent, json, QUESTION), 403, "Missing Authentication Token");
        }
        // A host that is not AWS's is asked of the proxy, too.
        if (arguments.length > 0) {
            for (Client client : clients) {
                try {
                    client.post(arguments[0], json, QUESTION);
                    throw new AssertionError(arguments[0] + " was reached");
                } catch (IOException refused) {
                    System.out.println("refused: " + refused.getMessage());
                }
            }
        }
        System.out.println("both of Java's clients reached this host under AWS's names");
    }

    static Answer withHttpClient(String url, Map<String, String> headers, String body) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).POST(HttpRequest.BodyPublishers.ofString(body));
        headers.forEach(request::header);
        HttpResponse<String> response = CLIENT.send(request.build(), HttpResponse.BodyHandlers.ofString());
        return new Answer(response.statusCode(), response.body());
    }

    static Answer withUrlConnection(String url, Map<String, String> headers, String body) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
        connection.setRequestMethod("POST");
        connection.setDoOutput(true);
        headers.forEach(connection::setRequestProperty);
        connection.getOutputStream().write(body.getBytes(UTF_8));
        int status = connection.getResponseCode();
        try (InputStream stream = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            return new Answer(status, new String(stream.readAllBytes(), UTF_8));
        }
    }

    /** The headers that sign a call of the agent with the question: Signature Version 4. */
    static Map<String, String> signed(String url) throws Exception {
        String moment = ZonedDateTime.now(ZoneOffset.UTC).format(DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'"));
        String scope = moment.substring(0, 8) + "/us-east-1/bedrock-agentcore/aws4_request";
        URI target = URI.create(url);
        // A path that is escaped already is escaped once more.
        String path = URLEncoder.encode(target.getRawPath(), UTF_8).replace("%2F", "/");
        String hash = hex(MessageDigest.getInstance("SHA-256").digest(QUESTION.getBytes(UTF_8)));
        String canonical = "POST\n" + path + "\n\nhost:" + target.getHost() + "\nx-amz-date:" + moment + "\n\nhost;x-amz-date\n" + hash;
        String text = "AWS4-HMAC-SHA256\n" + moment + "\n" + scope + "\n"
            + hex(MessageDigest.getInstance("SHA-256").digest(canonical.getBytes(UTF_8)));
        byte[] key = ("AWS4" + System.getenv("AWS_SECRET_ACCESS_KEY")).getBytes(UTF_8);
        for (String part : scope.split("/")) {
            key = hmac(key, part);
        }
        Map<String, String> headers = new LinkedHashMap<>();
        headers.put("content-type", "application/json");
        headers.put("x-amz-date", moment);
        headers.put("authorization", "AWS4-HMAC-SHA256 Credential=" + System.getenv("AWS_ACCESS_KEY_ID") + "/" + scope
            + ", SignedHeaders=host;x-amz-date, Signature=" + hex(hmac(key, text)));
        return headers;
    }

    static byte[] hmac(byte[] key, String text) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(UTF_8));
    }

    static String hex(byte[] bytes) {
        StringBuilder text = new StringBuilder();
        for (byte piece : bytes) {
            text.append(String.format("%02x", piece));
        }
        return text.toString();
    }

    static void check(Answer answer, int status, String mark) {
        if (answer.status() != status || !answer.body().toLowerCase().contains(mark.toLowerCase())) {
            throw new AssertionError("wanted " + status + " and `" + mark + "`, got " + answer);
        }
    }
}
