// Proves what each mistake in a document is answered with: place, object, field and sentence.
import Testing

@testable import Control

@Suite struct ManifestReaderTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var text: String
        var lines: [String]
        var testDescription: String { lines.joined(separator: " | ") }

        init(_ text: String, _ lines: String...) {
            self.text = text
            self.lines = lines
        }
    }

    static let fields: [Case] = [
        Case(
            """
            spec:
              rules:
              - matches:
                - path: {type: Prefx, value: /}
            """,
            "routes/10.yaml:7:20: HTTPRoute ai/ollama spec.rules[0].matches[0].path.type: "
                + "\"Prefx\" is not a sample match type; did you mean \"PathPrefix\"?"),
        Case(
            """
            spec:
              rules:
              - matches:
                - path: {type: Glob}
            """,
            "routes/10.yaml:7:20: HTTPRoute ai/ollama spec.rules[0].matches[0].path.type: "
                + "\"Glob\" is not a sample match type; use Exact, PathPrefix or "
                + "RegularExpression"),
        Case(
            """
            spec:
              rules:
              - mathces: []
                backendRef: {name: a}
                backendRefs: [{nmae: a}]
                colour: red
            """,
            "routes/10.yaml:6:5: HTTPRoute ai/ollama spec.rules[0].mathces: "
                + "unknown field; did you mean \"matches\"?",
            "routes/10.yaml:7:5: HTTPRoute ai/ollama spec.rules[0].backendRef: "
                + "unknown field; known here: backendRefs, matches, name, ratio, sticky",
            "routes/10.yaml:8:20: HTTPRoute ai/ollama spec.rules[0].backendRefs[0].nmae: "
                + "unknown field; did you mean \"name\"?",
            "routes/10.yaml:9:5: HTTPRoute ai/ollama spec.rules[0].colour: "
                + "unknown field; known here: backendRefs, matches, name, ratio, sticky"),
        Case(
            """
            spec:
              rules:
              - name: 80
                backendRefs:
                - {name: true, port: "80"}
                - {name: a, port: 70000}
                - {name: b, port: 080, weight: 1.5}
                - {port: 80}
                sticky: maybe
                ratio: half
            """,
            "routes/10.yaml:6:11: HTTPRoute ai/ollama spec.rules[0].name: "
                + "80 is a number where text is expected; put it in quotes: \"80\"",
            "routes/10.yaml:8:14: HTTPRoute ai/ollama spec.rules[0].backendRefs[0].name: "
                + "true is a boolean where text is expected; put it in quotes: \"true\"",
            "routes/10.yaml:8:26: HTTPRoute ai/ollama spec.rules[0].backendRefs[0].port: "
                + "\"80\" is text where a whole number is expected; remove the quotes",
            "routes/10.yaml:9:23: HTTPRoute ai/ollama spec.rules[0].backendRefs[1].port: "
                + "70000 is not within 0 to 65535",
            "routes/10.yaml:10:23: HTTPRoute ai/ollama spec.rules[0].backendRefs[2].port: "
                + "080 begins with a zero, which some readers take for octal; remove it",
            "routes/10.yaml:10:36: HTTPRoute ai/ollama spec.rules[0].backendRefs[2].weight: "
                + "\"1.5\" stands where a whole number is expected",
            "routes/10.yaml:11:7: HTTPRoute ai/ollama spec.rules[0].backendRefs[3].name: "
                + "this field is required",
            "routes/10.yaml:12:13: HTTPRoute ai/ollama spec.rules[0].sticky: "
                + "\"maybe\" stands where true or false is expected",
            "routes/10.yaml:13:12: HTTPRoute ai/ollama spec.rules[0].ratio: "
                + "\"half\" stands where a number is expected"),
        Case(
            """
            spec:
              hostnames: example.com
              rules:
                matches: []
            """,
            "routes/10.yaml:5:14: HTTPRoute ai/ollama spec.hostnames: "
                + "\"example.com\" stands where a list is expected",
            "routes/10.yaml:6:3: HTTPRoute ai/ollama spec.rules: "
                + "fields stand where a list is expected; begin each entry with \"-\""),
        Case(
            """
            spec:
              rules:
              - matches:
                - path:
                  - type: Exact
                  headers: [{name: [a], value: {}}]
              - just text
              -
            """,
            "routes/10.yaml:7:7: HTTPRoute ai/ollama spec.rules[0].matches[0].path: "
                + "a list stands where fields are expected; remove the \"-\"",
            "routes/10.yaml:9:18: HTTPRoute ai/ollama spec.rules[0].matches[0].headers[0].name: "
                + "a list stands where text is expected",
            "routes/10.yaml:9:29: HTTPRoute ai/ollama spec.rules[0].matches[0].headers[0].value: "
                + "fields stand where text is expected",
            "routes/10.yaml:10:5: HTTPRoute ai/ollama spec.rules[1]: "
                + "\"just text\" stands where fields are expected",
            "routes/10.yaml:11:4: HTTPRoute ai/ollama spec.rules[2]: "
                + "nothing stands where fields are expected"),
        Case(
            """
            spec:
              options:
                a.b/c: 1.0
                any: text
            """,
            "routes/10.yaml:6:12: HTTPRoute ai/ollama spec.options[a.b/c]: "
                + "1.0 is a number where text is expected; put it in quotes: \"1.0\""),
        Case(
            "sepc: {rules: []}",
            "routes/10.yaml:4:1: HTTPRoute ai/ollama sepc: unknown field; did you mean \"spec\"?"),
        Case(
            "status: {}",
            "routes/10.yaml:1:1: HTTPRoute ai/ollama spec: this field is required"),
    ]

    @Test(arguments: fields)
    func `a mistake in a field is told with its place, its path and what to do`(_ row: Case) {
        let manifest = readManifest(routeText(row.text))
        let lines = manifest.problems.sorted { ($0.position!) < ($1.position!) }.map(\.description)
        #expect(lines == row.lines)
        #expect(manifest.objects.isEmpty)
        #expect(manifest.refused.map(\.name) == ["ollama"])
    }

    static let documents: [Case] = [
        Case(
            "just text\n",
            "routes/10.yaml:1:1: an object of the API has the fields apiVersion, kind "
                + "and metadata"),
        Case("a: 1\n", "routes/10.yaml:1:1: the document has no apiVersion and kind"),
        Case("kind: HTTPRoute\n", "routes/10.yaml:1:1: the document has no apiVersion"),
        Case(
            "apiVersion: gateway.networking.k8s.io/v7\nkind: HTTPRoute\n",
            "routes/10.yaml:1:13: apiVersion: gateway.networking.k8s.io/v7 is not a version of "
                + "HTTPRoute that ai-gateway reads; use gateway.networking.k8s.io/v1 or "
                + "gateway.networking.k8s.io/v1beta1"),
        Case(
            "apiVersion: v1\nkind: Pod\nmetadata: {}\n",
            "routes/10.yaml:1:1: metadata.name: Pod: the object has no name"),
        Case(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: My_Pod}\n",
            "routes/10.yaml:3:18: Pod My_Pod metadata.name: \"My_Pod\" is not a name of the API: "
                + "lower-case letters, digits, \"-\" and \".\", a letter or digit at both ends, "
                + "at most 253 characters"),
        Case(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b.c}\n",
            "routes/10.yaml:3:32: Pod b.c metadata.namespace: \"b.c\" is not a name of the API: "
                + "lower-case letters, digits and \"-\", a letter or digit at both ends, "
                + "at most 63 characters"),
        Case(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {v: 1.0}}\n",
            "routes/10.yaml:3:33: Pod default/a metadata.labels.v: "
                + "1.0 is a number where text is expected; put it in quotes: \"1.0\""),
        Case(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: soon}\n",
            "routes/10.yaml:3:40: Pod default/a metadata.creationTimestamp: "
                + "\"soon\" is not a time; write it as 2026-05-04T03:02:01Z"),
        Case(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: plain!}\n",
            "routes/10.yaml:4:11: Secret default/a data.k: "
                + "the value is not base64; plain text belongs into stringData"),
        Case(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringDta: {}\n",
            "routes/10.yaml:4:1: warning: Secret default/a stringDta: "
                + "unknown field; did you mean \"stringData\"?"),
        Case(
            "apiVersion: v1\nkind: List\nitems:\n- {kind: Pod}\n- text\n",
            "routes/10.yaml:4:3: the document has no apiVersion",
            "routes/10.yaml:5:3: an object of the API has the fields apiVersion, kind "
                + "and metadata"),
        Case(
            "apiVersion: v1\nkind: PodList\nitems: text\n",
            "routes/10.yaml:1:1: items of a PodList is a list"),
    ]

    @Test(arguments: documents)
    func `a document that is no proper object is told so`(_ row: Case) {
        let manifest = readManifest(row.text)
        #expect(manifest.problems.map(\.description) == row.lines)
        #expect(!manifest.isUnread)
    }

    static let syntax: [Case] = [
        Case(
            "a: b: c\n",
            "routes/10.yaml:1:5: a second \": \" on the line; put quotes around text that "
                + "contains one, or check the indentation"
        ),
        Case("a:\n\tb: c\n", "routes/10.yaml:2:1: a tab cannot indent YAML; use spaces"),
        Case(
            "a: [1, 2\n",
            "routes/10.yaml:2:1: not YAML: did not find expected ',' or ']' "
                + "(while parsing a flow sequence that begins on line 1)"
        ),
        Case(
            "a: 'b\n",
            "routes/10.yaml:2:1: the text ends too early; a quote or bracket is open "
                + "(while scanning a quoted scalar that begins on line 1)"
        ),
        Case(
            "---\nok: 1\n---\na: *nobody\n",
            "routes/10.yaml:4:4: an alias of an anchor that is not in this document"),
        Case(
            "a: 1\nb:\n  c: 1\n  d: 2\n\n  c: 3\na: 2\n",
            "routes/10.yaml:6:3: \"c\" is already given on line 3"),
        Case("a: 1\n\"a\": 2\n", "routes/10.yaml:2:1: \"a\" is already given on line 1"),
        Case("{a: 1, a: 2}\n", "routes/10.yaml:1:2: \"a\" is given twice in this mapping"),
        Case("{\"a\": 1,\n \"a\": 2}\n", "routes/10.yaml:2:2: \"a\" is already given on line 1"),
        Case(
            "{\"a\": 1 \"b\": 2}\n",
            "routes/10.yaml:1:9: not JSON: a \",\" or \"}\" is expected here"),
        Case(
            "a: \u{7}\n",
            "routes/10.yaml:1:4: a character that YAML does not allow "
                + "(control characters are not allowed)"
        ),
        Case("? [a, b]\n: c\n", "routes/10.yaml:1:3: a field's name must be text"),
        Case(
            "a:\n  <<: text\n",
            "routes/10.yaml:2:7: << takes an alias of a mapping, or a list of such"),
    ]

    @Test(arguments: syntax)
    func `a file that is not YAML or JSON is refused as a whole`(_ row: Case) {
        let manifest = readManifest(row.text)
        #expect(manifest.problems.map(\.description) == row.lines)
        #expect(manifest.isUnread)
        #expect(manifest.objects.isEmpty)
    }

    @Test func `text that is not UTF-8 is refused at its first bad byte`() {
        let bytes = Array("a: 1\nb: é".utf8) + [0xFF]
        let manifest = ManifestReader.read(bytes, file: "a.yaml", kinds: sampleKinds)
        #expect(manifest.problems.map(\.description) == ["a.yaml:2:5: not UTF-8"])
        let utf16: [UInt8] = [0xFF, 0xFE, 0x61, 0]
        let other = ManifestReader.read(utf16, file: "a.yaml", kinds: sampleKinds)
        #expect(
            other.problems.map(\.description)
                == ["a.yaml:1:1: the text is UTF-16; save it as UTF-8"])
    }

    @Test func `a file over the limit is refused`() {
        let bytes = [UInt8](repeating: UInt8(ascii: "#"), count: DocumentLimits.fileBytesMax + 1)
        let manifest = ManifestReader.read(bytes, file: "a.yaml", kinds: sampleKinds)
        #expect(
            manifest.problems.map(\.description) == ["a.yaml:1:1: larger than 16 MiB; split it"])
    }

    @Test func `problems beyond the fiftieth of a document are counted`() {
        let fields = (0..<80).map { "  unlike\($0)x: 1" }.joined(separator: "\n")
        let manifest = readManifest(routeText("spec:\n\(fields)"))
        #expect(manifest.problems.count == 51)
        #expect(manifest.problems.last?.message == "and 30 more problems")
    }

    // MARK: - What is accepted

    @Test func `an object is located with its defaults filled in`() throws {
        let manifest = readManifest(
            """
            # a comment
            ---
            apiVersion: gateway.networking.k8s.io/v1beta1
            kind: HTTPRoute
            metadata:
              name: a
              labels: {on: "yes"}
              creationTimestamp: null
            spec:
              hostnames:
              - yes
              rules:
              - {name: on, sticky: yes, ratio: 1, backendRefs: [{name: b, port: 0x50}]}
            status: {parents: [{anything: goes}]}
            extra-by-somebody: 1
            """)
        #expect(manifest.problems.isEmpty)
        let object = try #require(manifest.objects.first)
        #expect(object.reference.description == "HTTPRoute default/a")
        #expect(object.group == "gateway.networking.k8s.io")
        #expect(object.position.description == "routes/10.yaml:3:1")
        #expect(object.position(of: "spec.hostnames[0]").description == "routes/10.yaml:11:5")
        #expect(object.position(of: "spec.rules[0].backendRefs[0].port").line == 13)
        #expect(object.position(of: "spec.rules[0].filters").description == "routes/10.yaml:13:5")
        #expect(object.generation == 1)
        let route = try #require(object.resource as? SampleRoute)
        #expect(route.spec.hostnames == ["yes"])
        #expect(route.spec.rules?[0].name == "on")
        #expect(route.spec.rules?[0].sticky == true)
        #expect(route.spec.rules?[0].backendRefs?[0].port == 80)
    }

    @Test func `kinds of the whole cluster have no namespace`() throws {
        let manifest = readManifest(
            """
            apiVersion: gateway.networking.k8s.io/v1
            kind: GatewayClass
            metadata: {name: a, namespace: ignored}
            spec: {controllerName: c}
            """)
        let object = try #require(manifest.objects.first)
        #expect(object.reference.description == "GatewayClass a")
    }

    @Test func `lists are taken apart, also those whose items do not say what they are`() {
        let manifest = readManifest(
            """
            apiVersion: v1
            kind: List
            items:
            - apiVersion: v1
              kind: PodList
              metadata: {resourceVersion: "1"}
              items:
              - metadata: {name: a}
              - metadata: {name: b}
            - {apiVersion: v1, kind: Pod, metadata: {name: c}}
            """)
        #expect(manifest.problems.isEmpty)
        #expect(manifest.objects.map(\.name) == ["a", "b", "c"])
        #expect(manifest.objects.map(\.position.line) == [8, 9, 10])
    }

    @Test func `types that are declared in part take any field, and status is never refused`() {
        let manifest = readManifest(
            """
            apiVersion: v1
            kind: Pod
            metadata: {name: a, managedFields: [{manager: m}]}
            spec:
              nodeName: n
              containers: [{name: c, image: i}]
            status: {podIP: 5, qosClass: x, conditions: [{type: Ready}]}
            """)
        #expect(manifest.objects.map(\.name) == ["a"])
        #expect(
            manifest.problems.map(\.description) == [
                "routes/10.yaml:7:17: warning: Pod default/a status.podIP: "
                    + "5 is a number where text is expected; put it in quotes: \"5\"",
                "routes/10.yaml:7:46: warning: Pod default/a status.conditions[0].status: "
                    + "this field is required",
            ])
        let pod = manifest.objects.first?.resource as? SamplePod
        #expect(pod?.status?.podIP == nil)
        #expect(pod?.status?.conditions?.isEmpty == true)
    }

    @Test func `JSON reads as YAML does, several values in one file too`() throws {
        let text = """
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
             "spec": {"containers": [{"name": "\\ud83d\\ude00/"}]}}
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}}
            """
        for file in ["a.json", "a.yaml", "-"] {
            let manifest = readManifest(text, file: file)
            #expect(manifest.problems.isEmpty)
            #expect(manifest.objects.map(\.name) == ["a", "b"])
            let pod = try #require(manifest.objects.first?.resource as? SamplePod)
            #expect(pod.spec?.containers?[0].name == "😀/")
        }
    }

    @Test func `the digest of what is declared ignores layout, comments, metadata and status`() {
        let a = readManifest(routeText("spec: {rules: [], hostnames: [a]}\nstatus: {a: 1}"))
        let b = readManifest(routeText("spec:\n  # why\n  hostnames: ['a']\n  rules: []\n"))
        let c = readManifest(routeText("spec: {rules: [], hostnames: [b]}"))
        #expect(a.objects[0].declaredDigest == b.objects[0].declaredDigest)
        #expect(a.objects[0].declaredDigest != c.objects[0].declaredDigest)
        #expect(a.objects[0].digest != b.objects[0].digest)
    }

    @Test func `unknown kinds are set aside with their place`() {
        let manifest = readManifest("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n")
        #expect(manifest.problems.isEmpty)
        #expect(manifest.ignored.map(\.kind) == ["Deployment"])
    }

    @Test func `a file cut off anywhere never stops the program`() {
        let text =
            routeText(
                "spec: &s\n  rules:\n  - matches: [{path: {value: \"/é\\n\"}}]\n"
                    + "    name: 'x'\n--- # two\n"
            )
            + "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", "
            + "\"metadata\": {\"name\": \"b\\u00e9\"}}\n"
        let bytes = Array(text.utf8)
        #expect(readManifest(text).problems.count == 1)
        for count in bytes.indices {
            let part = Array(bytes[..<count])
            for file in ["a.yaml", "a.json"] {
                let manifest = ManifestReader.read(part, file: file, kinds: sampleKinds)
                #expect(manifest.isUnread || manifest.problems.allSatisfy { $0.position != nil })
            }
        }
    }
}
