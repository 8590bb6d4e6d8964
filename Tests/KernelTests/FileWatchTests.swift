// A change below a watched path is reported, however the files are moved and linked.
import Foundation
import Glibc
import Kernel
import Testing

struct FileWatchTests {
    /// What is reported after a change; the change has been made when this is called.
    private func report(_ watch: inout FileWatch) -> FileWatch.Changes {
        while watch.wait(timeoutMilliseconds: 10_000) {
            let changes = watch.changes()
            if !changes.isEmpty { return changes }
        }
        return FileWatch.Changes()
    }

    @Test func `nothing changed, nothing reported`() throws {
        let tree = try Tree(["a.yaml": "1", "deep/b.yaml": "2"])
        var watch = try FileWatch()
        try watch.watch(tree.path)
        _ = try tree.read("a.yaml")
        check(watch.changes().isEmpty)
        check(!watch.wait(timeoutMilliseconds: 0))
    }

    @Test func `files made, written, moved and removed are changes`() throws {
        let tree = try Tree(["a.yaml": "1", "deep/b.yaml": "2"])
        var watch = try FileWatch()
        try watch.watch(tree.path)
        let expected = FileWatch.Changes(paths: [tree.path])
        try tree.write("a.yaml", "2")
        #expect(report(&watch) == expected)
        try tree.write("new.yaml", "1")
        #expect(report(&watch) == expected)
        try tree.move("new.yaml", to: "deep/new.yaml")
        #expect(report(&watch) == expected)
        try tree.write("deep/new.yaml", "3")
        #expect(report(&watch) == expected)
        try tree.remove("deep/new.yaml")
        #expect(report(&watch) == expected)
        check(watch.changes().isEmpty)
    }

    @Test func `new folders are watched from then on`() throws {
        let tree = try Tree(["a.yaml": "1"])
        var watch = try FileWatch()
        try watch.watch(tree.path)
        try tree.makeFolder("x/y")
        check(!report(&watch).isEmpty)
        try tree.write("x/y/b.yaml", "1")
        check(!report(&watch).isEmpty)
        try tree.remove("x")
        check(!report(&watch).isEmpty)
        check(watch.changes().isEmpty)
    }

    @Test func `a link swapped by renaming is a change`() throws {
        // As the kubelet mounts a ConfigMap: files link through "..data" into a dated folder.
        let tree = try Tree(["..1/a.yaml": "1", "..2/a.yaml": "2"])
        try tree.link("..data", to: "..1")
        try tree.link("a.yaml", to: "..data/a.yaml")
        var watch = try FileWatch()
        try watch.watch(tree.path)
        try watch.watch(tree.path + "/a.yaml")
        for target in ["..2", "..1", "..2"] {
            try tree.link("..data_tmp", to: target)
            try tree.move("..data_tmp", to: "..data")
            var paths: Set<String> = []
            while paths.count < 2, watch.wait(timeoutMilliseconds: 10_000) {
                paths.formUnion(watch.changes().paths)
            }
            #expect(paths == [tree.path, tree.path + "/a.yaml"])
            check(watch.changes().isEmpty)
        }
        try tree.write("..2/a.yaml", "3")
        #expect(report(&watch).paths == [tree.path, tree.path + "/a.yaml"])
    }

    @Test func `a watched folder behind a link follows the link`() throws {
        let tree = try Tree(["one/a.yaml": "1", "two/a.yaml": "2"])
        try tree.link("current", to: "one")
        var watch = try FileWatch()
        try watch.watch(tree.path + "/current")
        try tree.write("two/a.yaml", "3")
        check(watch.changes().isEmpty)
        try tree.link("next", to: tree.path + "/two")
        try tree.move("next", to: "current")
        #expect(report(&watch).paths == [tree.path + "/current"])
        try tree.write("two/a.yaml", "4")
        #expect(report(&watch).paths == [tree.path + "/current"])
        try tree.write("one/a.yaml", "4")
        check(watch.changes().isEmpty)
    }

    @Test func `a watched file that is replaced, removed or made again is a change`() throws {
        let tree = try Tree(["a.yaml": "1", "b.yaml": "1"])
        var watch = try FileWatch()
        try watch.watch(tree.path + "/a.yaml")
        let expected = FileWatch.Changes(paths: [tree.path + "/a.yaml"])
        try tree.write("b.yaml", "2")
        check(watch.changes().isEmpty)
        try tree.move("b.yaml", to: "a.yaml")
        #expect(report(&watch) == expected)
        try tree.remove("a.yaml")
        #expect(report(&watch) == expected)
        try tree.write("a.yaml", "3")
        #expect(report(&watch) == expected)
    }

    @Test func `a watched folder that disappears is watched again when it comes back`() throws {
        let tree = try Tree(["routes/a.yaml": "1"])
        var watch = try FileWatch()
        try watch.watch(tree.path + "/routes")
        try tree.move("routes", to: "gone")
        check(!report(&watch).isEmpty)
        try tree.write("gone/a.yaml", "2")
        _ = watch.changes()
        try tree.makeFolder("routes")
        check(!report(&watch).isEmpty)
        try tree.write("routes/b.yaml", "2")
        check(!report(&watch).isEmpty)
    }

    @Test func `links in a circle end`() throws {
        let tree = try Tree(["a.yaml": "1"])
        try tree.makeFolder("inner")
        try tree.link("self", to: "self")
        try tree.link("inner/up", to: "..")
        try tree.link("loop", to: ".")
        var watch = try FileWatch()
        try watch.watch(tree.path + "/inner")
        try watch.watch(tree.path + "/a.yaml")
        try watch.watch(tree.path + "/loop/loop/a.yaml")
        try tree.write("a.yaml", "2")
        #expect(report(&watch).paths.count == 3)
    }

    @Test func `a path that is not there is an error`() throws {
        var watch = try FileWatch()
        #expect(throws: SystemError("stat", ENOENT)) { try watch.watch("/nowhere/at/all") }
        check(watch.changes().isEmpty)
    }

    @Test func `more events than the system keeps are reported as incomplete`() throws {
        let text = contents(of: "/proc/sys/fs/inotify/max_queued_events")
        let limit = try #require(Int(text.split(separator: "\n").first ?? ""))
        try #require(limit <= 1 << 20, "The queue of this machine is too long to fill.")
        let tree = try Tree(["a": "1", "b": "1", "other/c": "1"])
        var watch = try FileWatch()
        try watch.watch(tree.path)
        try watch.watch(tree.path + "/other/c")
        // Equal events in a row are merged: alternate between two files.
        let (first, second) = (tree.path + "/a", tree.path + "/b")
        for _ in 0...limit / 2 + 1 {
            // Sound: terminated strings, read during the calls only.
            _ = unsafe (chmod(first, 0o600), chmod(second, 0o600))
        }
        var changes = FileWatch.Changes()
        while !changes.isIncomplete, watch.wait(timeoutMilliseconds: 10_000) {
            changes = watch.changes()
        }
        #expect(changes.isIncomplete)
        #expect(changes.paths == [tree.path, tree.path + "/other/c"])
    }
}
