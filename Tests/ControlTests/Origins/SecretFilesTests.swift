// Proves that a Secret's values come from its data, its stringData and the files it names.
import Foundation
import Testing

@testable import Control

@Suite struct SecretFilesTests {
    private func read(_ folder: TemporaryFolder, _ fields: String) -> Manifest {
        let text = """
            apiVersion: v1
            kind: Secret
            metadata:
              name: a
              annotations:
                ai-gateway.dev/certificate-file: tls/cert.pem
                ai-gateway.dev/key-file: \(folder.path("tls/key.pem"))
            type: kubernetes.io/tls
            \(fields)
            """
        return readManifest(text, file: folder.path("a.yaml"))
    }

    @Test func `files stand for the fields of data`() throws {
        let folder = try TemporaryFolder()
        try folder.makeFolder("tls")
        try folder.write("tls/cert.pem", "CERT")
        try folder.write("tls/key.pem", "KEY")
        let manifest = read(folder, "data: {tls.crt: eA==, other: eQ==}\n")
        #expect(manifest.problems.isEmpty)
        let secret = try #require(manifest.objects.first?.resource as? SampleSecret)
        #expect(secret.text("tls.crt") == "CERT")
        #expect(secret.text("tls.key") == "KEY")
        #expect(secret.text("other") == "y")
        #expect(manifest.attachments.count == 2)
        #expect(manifest.objects[0].position(of: "data[tls.key]").line == 7)
    }

    @Test func `stringData is data that wins`() throws {
        let folder = try TemporaryFolder()
        try folder.makeFolder("tls")
        try folder.write("tls/cert.pem", "CERT")
        try folder.write("tls/key.pem", "KEY")
        let manifest = read(folder, "stringData: {tls.crt: OTHER, more: é}\n")
        let secret = try #require(manifest.objects.first?.resource as? SampleSecret)
        #expect(secret.text("tls.crt") == "OTHER")
        #expect(secret.text("more") == "é")
        #expect(secret.text("tls.key") == "KEY")
    }

    @Test func `a missing file is a problem at its annotation`() throws {
        let folder = try TemporaryFolder()
        try folder.makeFolder("tls")
        try folder.makeFolder("tls/key.pem")
        let manifest = read(folder, "")
        let lines = manifest.problems.map { $0.description.replacing(folder.path, with: "") }
        #expect(
            lines == [
                "/a.yaml:6:38: Secret default/a "
                    + "metadata.annotations[ai-gateway.dev/certificate-file]: "
                    + "/tls/cert.pem cannot be read: no such file or folder",
                "/a.yaml:7:30: Secret default/a metadata.annotations[ai-gateway.dev/key-file]: "
                    + "/tls/key.pem cannot be read: it is not a file",
            ])
        #expect(manifest.refused.count == 1)
        #expect(manifest.attachments.count == 2)
    }

    @Test func `a value of stringData that is no text is refused`() {
        let manifest = readManifest(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: 1, b: ok}\n")
        #expect(
            manifest.problems.map(\.description) == [
                "routes/10.yaml:4:17: Secret default/a stringData.a: "
                    + "1 is a number where text is expected; put it in quotes: \"1\""
            ])
    }

    @Test func `null data is no obstacle`() throws {
        let manifest = readManifest(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\nstringData: {b: ok}\n")
        let secret = try #require(manifest.objects.first?.resource as? SampleSecret)
        #expect(secret.text("b") == "ok")
    }
}
