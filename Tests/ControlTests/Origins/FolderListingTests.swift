// Proves which files a path means: what is hidden, linked, repeated or missing.
import Foundation
import Testing

@testable import Control

@Suite struct FolderListingTests {
    private func names(_ folder: TemporaryFolder, _ paths: [String]? = nil) -> [String] {
        FolderListing(paths: paths ?? [folder.path]).files
            .map { $0.path.replacing(folder.path + "/", with: "") }
    }

    @Test func `a folder means its documents, in order, at any depth`() throws {
        let folder = try TemporaryFolder()
        try folder.makeFolder("b/c")
        try folder.makeFolder(".git")
        for name in ["z.yaml", "a.yml", "b/c/d.json", "b/10.yaml", "b/9.yaml"] {
            try folder.write(name, "")
        }
        for name in [".hidden.yaml", ".git/x.yaml", "notes.txt", "a.yaml~", "b/yaml"] {
            try folder.write(name, "")
        }
        #expect(names(folder) == ["a.yml", "b/10.yaml", "b/9.yaml", "b/c/d.json", "z.yaml"])
    }

    @Test func `a file that is named is read whatever its name`() throws {
        let folder = try TemporaryFolder()
        try folder.write(".notes.txt", "")
        #expect(names(folder, [folder.path(".notes.txt")]) == [".notes.txt"])
    }

    @Test func `a mounted ConfigMap is read once, through its visible links`() throws {
        let folder = try TemporaryFolder()
        try folder.makeFolder("..2026_05_04/sub")
        try folder.write("..2026_05_04/a.yaml", "")
        try folder.write("..2026_05_04/sub/b.yaml", "")
        try folder.link("..data", to: "..2026_05_04")
        try folder.link("a.yaml", to: "..data/a.yaml")
        try folder.link("sub", to: "..data/sub")
        #expect(names(folder) == ["a.yaml", "sub/b.yaml"])
        #expect(names(folder, [folder.path("..data")]) == ["..data/a.yaml", "..data/sub/b.yaml"])
    }

    @Test func `files and folders that several names lead to are listed once`() throws {
        let folder = try TemporaryFolder()
        try folder.makeFolder("b")
        try folder.write("b/1.yaml", "")
        try folder.link("b/2.yaml", to: "1.yaml")
        try folder.link("b/loop", to: "..")
        try folder.link("c", to: "b")
        #expect(names(folder) == ["b/1.yaml"])
        #expect(names(folder, [folder.path("b/1.yaml"), folder.path]) == ["b/1.yaml"])
    }

    @Test func `what is missing is told, and a link to nothing too`() throws {
        let folder = try TemporaryFolder()
        try folder.link("a.yaml", to: "nowhere")
        try folder.link("b.txt", to: "nowhere")
        let listing = FolderListing(paths: [folder.path, folder.path("none")])
        #expect(listing.files.isEmpty)
        #expect(
            listing.failures.map {
                $0.path.replacing(folder.path, with: "") + ": " + $0.failure.message
            }
                == [
                    "/a.yaml: a link to a file that does not exist",
                    "/none: no such file or folder",
                ])
    }

    @Test func `standard input and streams stand in the list without a state`() {
        let listing = FolderListing(paths: ["-", "/dev/null"], readStreams: [])
        #expect(listing.files.map(\.isStream) == [true, true])
    }
}
