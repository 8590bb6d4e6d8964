import Glibc

/// Owner of one anonymous mapping: zeroed, page-aligned, using memory only where it was touched.
@safe
@usableFromInline
struct Mapping: ~Copyable {
    @usableFromInline let base: UnsafeMutableRawPointer
    let byteCount: Int

    /// Reserves at least one page; traps when the address space refuses.
    ///
    /// Large pages are for what is used everywhere at once: a look-up at random finds its page twice as fast.
    @usableFromInline
    init(byteCount: Int, hasLargePages: Bool = false) {
        precondition(byteCount >= 0, "A mapping is not negative.")
        self.byteCount = max(byteCount, 4096)
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        // Sound: a new private mapping that nobody else knows; the result is checked below.
        let region = unsafe mmap(nil, self.byteCount, PROT_READ | PROT_WRITE, flags, -1, 0)
        // Sound: only compared and then kept for the life of this owner.
        guard let region = unsafe region, unsafe region != MAP_FAILED else {
            preconditionFailure("The system refused \(byteCount) bytes of address space.")
        }
        // Sound: the region just mapped. With huge pages one touched slot would use two MiB.
        let advice = hasLargePages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE
        // Sound: as above.
        _ = unsafe madvise(region, self.byteCount, advice)
        // Sound: kept until deinit, which unmaps it.
        unsafe base = region
    }

    /// Gives the region away: it stays mapped until somebody unmaps it.
    consuming func release() -> UnsafeMutableRawPointer {
        // Sound: the deinit that would unmap it does not run.
        let region = unsafe base
        discard self
        return unsafe region
    }

    deinit {
        // Sound: the region is this owner's alone, and nobody can reach it after its end.
        _ = unsafe munmap(base, byteCount)
    }
}
