import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Publishes with the JDK's own client as it comes: it offers HTTP/2 by `Upgrade: h2c` on every request. */
public class Publish {
    public static void main(String[] arguments) throws Exception {
        URI uri = URI.create(arguments[0] + "/audit/publish");
        HttpClient client = HttpClient.newHttpClient();
        int count = Integer.parseInt(arguments[1]);
        for (int n = 0; n < count; n++) {
            System.out.println(client.send(request(uri, "single", n), HttpResponse.BodyHandlers.ofString()).statusCode());
        }
        List<CompletableFuture<Integer>> open = IntStream.range(0, count)
            .mapToObj(n -> client.sendAsync(request(uri, "parallel", n), HttpResponse.BodyHandlers.ofString())
                .thenApply(HttpResponse::statusCode))
            .collect(Collectors.toList());
        open.forEach(each -> System.out.println(each.join()));
    }

    private static HttpRequest request(URI uri, String type, int n) {
        String event = "{\"eventType\": \"java." + type + "\", \"sourceSystem\": \"jdk\", \"extra\": {\"n\": " + n + "}}";
        return HttpRequest.newBuilder(uri)
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(event))
            .build();
    }
}
