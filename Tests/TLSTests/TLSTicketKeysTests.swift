// That sessions resume across workers, reloads and key rotation, and never across contexts.
import Foundation
import Testing

@testable import TLS

/// A handshake, with the tickets that follow it, and whether it resumed an earlier session.
private func connect(
    _ client: TLSClientConfiguration,
    _ server: TLSServerConfiguration,
    name: String = "a.example",
    key: UInt64 = 0
) throws -> Bool {
    let pair = try Loopback(client, server, name: name, resumptionKey: key)
    #expect(
        pair.shake(),
        "\(String(describing: pair.serverFailure)) \(String(describing: pair.clientFailure))"
    )
    #expect(pair.receive(atServer: false) == .init())
    #expect(pair.client.isResumed == pair.server.isResumed)
    return pair.client.isResumed
}

private let versions = [TLSVersion.tls12, .tls13]

@Suite struct `A session ticket` {
    private func client(_ version: TLSVersion, max: Int = 8) throws -> TLSClientConfiguration {
        let client = try clientConfiguration(resumableSessionsMax: max)
        client.context.limit(to: version)
        return client
    }

    @Test(arguments: versions) func `resumes a session`(version: TLSVersion) throws {
        let client = try client(version)
        let server = try serverConfiguration(ticketKeys: TLSTicketKeys(now: 0))
        #expect(try !connect(client, server))
        for _ in 0..<3 { #expect(try connect(client, server)) }
    }

    @Test(arguments: versions) func `opens after a reload`(version: TLSVersion) throws {
        let client = try client(version)
        let keys = TLSTicketKeys(now: 0)
        #expect(try !connect(client, try serverConfiguration(ticketKeys: keys)))
        #expect(try connect(client, try serverConfiguration(ticketKeys: keys)))
    }

    @Test(arguments: versions) func `opens, and is renewed, while its key is remembered`(
        version: TLSVersion
    ) throws {
        let client = try client(version)
        let keys = TLSTicketKeys(periodSeconds: 10, now: 0)
        let server = try serverConfiguration(ticketKeys: keys)
        #expect(try !connect(client, server))
        // Renewed each time, so that no number of rotations one by one ends it.
        for round in 1...6 as ClosedRange<UInt64> {
            #expect(keys.rotate(now: round * 10))
            #expect(try connect(client, server))
        }
        #expect(keys.rotate(now: 100))
        #expect(keys.rotate(now: 200))
        #expect(try connect(client, server))
        for now in [300, 400, 500] as [UInt64] { #expect(keys.rotate(now: now)) }
        #expect(try !connect(client, server))
        #expect(try connect(client, server))
    }

    @Test func `keeps its key for the period`() {
        let keys = TLSTicketKeys(periodSeconds: 10, now: 100)
        #expect(!keys.rotate(now: 109))
        #expect(!keys.rotate(now: 50))
        #expect(keys.rotate(now: 110))
        #expect(!keys.rotate(now: 119))
        #expect(keys.rotate(now: 1_000))
    }

    @Test(arguments: versions) func `opens in no other context`(version: TLSVersion) throws {
        let keys = TLSTicketKeys(now: 0)
        let authorities = Certificates.authority.certificatePEM
        let home = try serverConfiguration(ticketKeys: keys)
        let others = [
            try serverConfiguration(context: [2], ticketKeys: keys),
            try serverConfiguration(validation: .requested(authorities), ticketKeys: keys),
            try serverConfiguration(validation: .required(authorities), ticketKeys: keys),
            try serverConfiguration(
                [Certificates.other, Certificates.ecdsa],
                ticketKeys: TLSTicketKeys(now: 0)
            ),
        ]
        for other in others {
            let client = try clientConfiguration(
                certificate: Certificates.client,
                resumableSessionsMax: 8
            )
            client.context.limit(to: version)
            #expect(try !connect(client, home))
            #expect(try !connect(client, other))
        }
        // Nor for the certificate of another name on the same listener.
        let both = try serverConfiguration(
            [Certificates.other, Certificates.ecdsa],
            ticketKeys: keys
        )
        let client = try clientConfiguration(trust: .insecure, resumableSessionsMax: 1)
        client.context.limit(to: version)
        #expect(try !connect(client, both))
        client.resumable?.moveAll(to: "b.example")
        #expect(try !connect(client, both, name: "b.example"))
    }

    @Test(arguments: versions) func `is not given without keys`(version: TLSVersion) throws {
        let client = try client(version)
        let server = try serverConfiguration()
        #expect(try !connect(client, server))
        #expect(client.resumable?.count == 0)
        #expect(try !connect(client, server))
    }

    @Test(arguments: versions) func `keeps what was found of the client's certificate`(
        version: TLSVersion
    ) throws {
        let authorities = Certificates.authority.certificatePEM
        let server = try serverConfiguration(
            validation: .requested(authorities),
            ticketKeys: TLSTicketKeys(now: 0)
        )
        let client = try clientConfiguration(
            certificate: Certificates.stranger,
            resumableSessionsMax: 1
        )
        client.context.limit(to: version)
        for round in 0..<2 {
            let pair = try Loopback(client, server)
            #expect(pair.shake())
            _ = pair.receive(atServer: false)
            #expect(pair.server.isResumed == (round == 1))
            #expect(pair.server.peerVerificationFailure != nil)
        }
    }

    @Test(arguments: versions) func `ends with the certificate that a client had to show`(
        version: TLSVersion
    ) throws {
        let server = try serverConfiguration(
            validation: .required(Certificates.authority.certificatePEM),
            ticketKeys: TLSTicketKeys(now: 0)
        )
        let brief = try SelfSignedCertificate.make(
            names: ["client"],
            validSeconds: -60...2,
            issuer: Certificates.authority
        )
        let client = try clientConfiguration(certificate: brief, resumableSessionsMax: 8)
        client.context.limit(to: version)
        #expect(try !connect(client, server))
        // Each has a ticket that was made for it.
        #expect(try connect(client, server))
        #expect(try connect(client, server))
        Thread.sleep(forTimeInterval: 3)
        let pair = try Loopback(client, server)
        #expect(!pair.shake())
        #expect(pair.server.isResumed == false)
        #expect(pair.serverFailure?.reason == .certificateExpired)
    }

    @Test func `that was damaged costs a full handshake only`() throws {
        let keys = TLSTicketKeys(now: 0)
        let facts = try ContextFacts(applicationProtocols: [], ticketKeys: keys, binding: [1])
        let current = try #require(facts.currentTicketKey())
        #expect(facts.ticketKey(named: current.name)?.isCurrent == true)
        var name = current.name
        name[15] ^= 1
        #expect(facts.ticketKey(named: name) == nil)
    }
}

@Suite struct `Workers` {
    @Test func `share configurations, keys and cache at the same time`() async throws {
        let keys = TLSTicketKeys(periodSeconds: 1, now: 0)
        let server = try serverConfiguration(protocols: ["h2"], ticketKeys: keys)
        let client = try clientConfiguration(protocols: ["h2"], resumableSessionsMax: 3)
        let opened = try await withThrowingTaskGroup(of: Int.self) { group in
            for worker in 0..<4 as Range<UInt64> {
                group.addTask {
                    var opened = 0
                    for round in 0..<25 as Range<UInt64> {
                        keys.rotate(now: round / 5)
                        let pair = try Loopback(client, server, resumptionKey: (worker + round) % 5)
                        if pair.shake() { opened += 1 }
                        _ = pair.receive(atServer: false)
                    }
                    return opened
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(opened == 100)
    }
}

@Suite struct `The cache of resumable sessions` {
    @Test(arguments: versions) func `holds no more than it may, and drops the oldest`(
        version: TLSVersion
    ) throws {
        let client = try clientConfiguration(resumableSessionsMax: 2)
        client.context.limit(to: version)
        let server = try serverConfiguration(ticketKeys: TLSTicketKeys(now: 0))
        for key in 0..<5 as Range<UInt64> { #expect(try !connect(client, server, key: key)) }
        #expect(client.resumable?.count == 2)
        #expect(try connect(client, server, key: 4))
        #expect(try connect(client, server, key: 3))
        #expect(try !connect(client, server, key: 0))
    }

    @Test(arguments: versions) func `lends one session to many connections`(
        version: TLSVersion
    ) throws {
        let client = try clientConfiguration(resumableSessionsMax: 2)
        client.context.limit(to: version)
        let server = try serverConfiguration(ticketKeys: TLSTicketKeys(now: 0))
        #expect(try !connect(client, server))
        let first = try Loopback(client, server)
        let second = try Loopback(client, server)
        #expect(first.shake())
        #expect(second.shake())
        #expect(first.client.isResumed == true)
        #expect(second.client.isResumed == true)
    }

    @Test(arguments: versions) func `keeps a session whose connection ended without a word`(
        version: TLSVersion
    ) throws {
        let client = try clientConfiguration(resumableSessionsMax: 2)
        client.context.limit(to: version)
        let server = try serverConfiguration(ticketKeys: TLSTicketKeys(now: 0))
        #expect(try !connect(client, server))
        for _ in 0..<3 {
            let pair = try Loopback(client, server)
            #expect(pair.shake())
            pair.send([1])
        }
        #expect(try connect(client, server))
    }

    @Test(arguments: versions) func `keeps no session of a server with a wrong name`(
        version: TLSVersion
    ) throws {
        let client = try clientConfiguration(
            subjectNames: [.uri("spiffe://cluster/other")],
            resumableSessionsMax: 2
        )
        client.context.limit(to: version)
        let server = try serverConfiguration(
            [Certificates.uri],
            ticketKeys: TLSTicketKeys(now: 0)
        )
        let pair = try Loopback(client, server)
        #expect(!pair.shake())
        #expect(client.resumable?.count == 0)
    }
}
