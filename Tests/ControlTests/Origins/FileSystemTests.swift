// Proves how files are read, and in what words a failure is told.
import Foundation
import Testing

@testable import Control

@Suite struct FileSystemTests {
    @Test func `a file is read up to its limit`() throws {
        let folder = try TemporaryFolder()
        try folder.write("a", String(repeating: "x", count: 2 << 20))
        #expect(try FileSystem.read(folder.path("a"), bytesMax: 2 << 20).count == 2 << 20)
        let failure = #expect(throws: FileFailure.self) {
            try FileSystem.read(folder.path("a"), bytesMax: 1 << 20)
        }
        #expect(failure == FileFailure("larger than 1 MiB; split it", reason: "TooLarge"))
    }

    @Test func `failures are told in plain words`() throws {
        let folder = try TemporaryFolder()
        func message(_ path: String) -> String? {
            let failure = #expect(throws: FileFailure.self) {
                try FileSystem.read(path, bytesMax: 1 << 20)
            }
            return failure?.message
        }
        #expect(message(folder.path("none")) == "no such file or folder")
        #expect(message(folder.path) == "it is a folder")
    }

    @Test func `a link has the state of what it leads to`() throws {
        let folder = try TemporaryFolder()
        try folder.write("a", "x")
        try folder.link("b", to: "a")
        try folder.link("c", to: "b")
        let entry = try #require(FileEntry(path: folder.path("a")))
        #expect(entry.type == .regular)
        #expect(entry.stamp.size == 1)
        #expect(FileEntry(path: folder.path("c"))?.stamp == entry.stamp)
        #expect(FileEntry(path: folder.path("none")) == nil)
        #expect(FileEntry(path: folder.path)?.type == .folder)
        #expect(FileEntry(path: "/dev/null")?.type == .stream)
    }

    @Test func `a state just written is fresh`() {
        let stamp = FileStamp(device: 1, inode: 1, size: 1, modified: 100)
        #expect(stamp.isFresh(now: 101))
        #expect(!stamp.isFresh(now: 103))
    }

    @Test(arguments: [
        ("tls.crt", "routes/a.yaml", "routes/tls.crt"), ("/etc/a", "routes/a.yaml", "/etc/a"),
        ("a", "b.yaml", "a"), ("a", "-", "a"), ("../a", "/x/b.yaml", "/x/../a"),
    ])
    func `paths in a document are relative to it`(
        _ path: String, _ file: String, _ expected: String
    ) {
        #expect(FileSystem.path(path, relativeTo: file) == expected)
    }

    @Test func `names are joined with one slash`() {
        #expect(FileSystem.join("a", "b") == "a/b")
        #expect(FileSystem.join("a/", "b") == "a/b")
        #expect(FileSystem.join("/", "b") == "/b")
    }
}
