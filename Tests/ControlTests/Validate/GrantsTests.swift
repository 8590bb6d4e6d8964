// Proves that a ReferenceGrant allows what it says and nothing beside it.
import Testing

@testable import Control

@Suite struct GrantsTests {
    static let source = Grants.Source(
        group: Groups.gateway, kind: "HTTPRoute", namespace: "ai")

    private static func grants(
        from: ReferenceGrantFrom, to: ReferenceGrantTo, in namespace: String = "far"
    ) -> Grants {
        var grants = Grants()
        grants.add(ReferenceGrantSpec(from: [from], to: [to]), in: namespace)
        return grants
    }

    static let from = ReferenceGrantFrom(group: Groups.gateway, kind: "HTTPRoute", namespace: "ai")
    static let to = ReferenceGrantTo(group: "", kind: "Service", name: "web")

    private func permits(_ grants: Grants) -> Bool {
        grants.permit(
            Self.source, group: "", kind: "Service", NamespacedName("far", "web"))
    }

    @Test func `a grant of the target's namespace permits`() {
        #expect(permits(Self.grants(from: Self.from, to: Self.to)))
        let all = ReferenceGrantTo(group: "", kind: "Service", name: nil)
        #expect(permits(Self.grants(from: Self.from, to: all)))
    }

    @Test func `within a namespace no grant is needed`() {
        #expect(
            Grants().permit(
                Self.source, group: "", kind: "Service", NamespacedName("ai", "web")))
    }

    @Test func `every part of a grant must fit`() {
        #expect(!permits(Grants()))
        #expect(!permits(Self.grants(from: Self.from, to: Self.to, in: "ai")))
        var from = Self.from
        from.group = "other"
        #expect(!permits(Self.grants(from: from, to: Self.to)))
        from = Self.from
        from.kind = "Gateway"
        #expect(!permits(Self.grants(from: from, to: Self.to)))
        from = Self.from
        from.namespace = "other"
        #expect(!permits(Self.grants(from: from, to: Self.to)))
        var to = Self.to
        to.group = "other"
        #expect(!permits(Self.grants(from: Self.from, to: to)))
        to = Self.to
        to.kind = "Secret"
        #expect(!permits(Self.grants(from: Self.from, to: to)))
        to = Self.to
        to.name = "other"
        #expect(!permits(Self.grants(from: Self.from, to: to)))
    }

    @Test func `grants add up`() {
        var grants = Self.grants(
            from: Self.from, to: ReferenceGrantTo(group: "", kind: "Service", name: "other"))
        #expect(!permits(grants))
        grants.add(ReferenceGrantSpec(from: [Self.from], to: [Self.to]), in: "far")
        #expect(permits(grants))
    }
}
