/// Names and help of all metrics, in one place.
extension PrometheusText {
    static func words(_ counter: Counter) -> (name: String, help: String) {
        switch counter {
        case .receivedBytes:
            ("ai_gateway_received_bytes_total", "Bytes received from clients.")
        case .sentBytes:
            ("ai_gateway_sent_bytes_total", "Bytes sent to clients.")
        case .acceptedConnections:
            ("ai_gateway_accepted_connections_total", "Connections accepted from clients.")
        case .rejectedConnections:
            ("ai_gateway_rejected_connections_total", "Connections refused by a limit.")
        case .acceptPauses:
            (
                "ai_gateway_accept_pauses_total",
                "Times that accepting stopped for want of descriptors or memory."
            )
        case .tlsHandshakes:
            ("ai_gateway_tls_handshakes_total", "TLS handshakes with clients that succeeded.")
        case .tlsFailures:
            ("ai_gateway_tls_failures_total", "TLS handshakes with clients that failed.")
        case .proxyHeaderFailures:
            (
                "ai_gateway_proxy_protocol_failures_total",
                "Connections closed for want of a valid PROXY protocol header from a trusted peer."
            )
        case .datagramsReceived:
            ("ai_gateway_udp_received_datagrams_total", "Datagrams received from clients.")
        case .datagramBytesReceived:
            ("ai_gateway_udp_received_bytes_total", "Content of datagrams received from clients.")
        case .datagramsSent:
            ("ai_gateway_udp_sent_datagrams_total", "Datagrams sent to clients.")
        case .datagramBytesSent:
            ("ai_gateway_udp_sent_bytes_total", "Content of datagrams sent to clients.")
        case .datagramsDropped:
            (
                "ai_gateway_udp_dropped_datagrams_total",
                "Datagrams that had no backend, or that no socket took, in either direction."
            )
        case .datagramSessionsBegun:
            ("ai_gateway_udp_sessions_begun_total", "Sessions that a client's datagram began.")
        case .upstreamConnects:
            ("ai_gateway_upstream_connects_total", "Connections opened to backends.")
        case .upstreamReuses:
            ("ai_gateway_upstream_reuses_total", "Attempts that reused a connection.")
        case .completed:
            ("ai_gateway_completed_total", "Exchanges that ended as both sides wanted.")
        case .clientCancels:
            ("ai_gateway_client_cancels_total", "Exchanges that the client gave up.")
        case .clientTimeouts:
            ("ai_gateway_client_timeouts_total", "Clients that were too slow to send or take.")
        case .drainCuts:
            ("ai_gateway_drain_cuts_total", "Exchanges cut at the end of draining.")
        case .tunnels:
            (
                "ai_gateway_tunnels_total",
                "WebSockets and connections of TCP and TLS routes that reached a backend."
            )
        case .tunnelCuts:
            ("ai_gateway_tunnel_cuts_total", "Tunnels that did not end by both sides' ends.")
        case .streamRejections:
            (
                "ai_gateway_stream_rejections_total",
                "Connections closed because no route or backend of a TCP or TLS listener took them."
            )
        case .retries:
            ("ai_gateway_retries_total", "Attempts after the first.")
        case .retriesOverBudget:
            (
                "ai_gateway_retries_over_budget_total",
                "Attempts after the first that were not made since too many were under way."
            )
        case .malformedRequests:
            ("ai_gateway_malformed_requests_total", "Requests refused as malformed.")
        case .regexLimit:
            (
                "ai_gateway_regex_limit_total",
                "Regular expressions that met a bound and so did not match."
            )
        case .http2Streams:
            ("ai_gateway_http2_streams_total", "Requests that came over HTTP/2.")
        case .http2FloodResets:
            (
                "ai_gateway_http2_flood_resets_total",
                "HTTP/2 connections ended for too many streams ended early."
            )
        case .http2FloodContinuations:
            (
                "ai_gateway_http2_flood_continuations_total",
                "HTTP/2 connections ended for too many CONTINUATION frames."
            )
        case .http2FloodSettings:
            (
                "ai_gateway_http2_flood_settings_total",
                "HTTP/2 connections ended for too many SETTINGS frames."
            )
        case .http2FloodPings:
            (
                "ai_gateway_http2_flood_pings_total",
                "HTTP/2 connections ended for too many PING frames."
            )
        case .http2FloodPriorities:
            (
                "ai_gateway_http2_flood_priorities_total",
                "HTTP/2 connections ended for too many PRIORITY frames."
            )
        case .http2FloodEmptyData:
            (
                "ai_gateway_http2_flood_empty_data_total",
                "HTTP/2 connections ended for too many empty DATA frames."
            )
        case .http2FloodLateData:
            (
                "ai_gateway_http2_flood_late_data_total",
                "HTTP/2 connections ended for too much DATA of streams that were over."
            )
        case .http2FloodWindowUpdates:
            (
                "ai_gateway_http2_flood_window_updates_total",
                "HTTP/2 connections ended for too many WINDOW_UPDATE frames."
            )
        case .http2FloodUnknownFrames:
            (
                "ai_gateway_http2_flood_unknown_frames_total",
                "HTTP/2 connections ended for too many frames of no known type or of streams that were over."
            )
        case .http2FloodOutboundQueue:
            (
                "ai_gateway_http2_flood_outbound_queue_total",
                "HTTP/2 connections ended for too many answers that the peer did not read."
            )
        case .http2FloodLibrary:
            (
                "ai_gateway_http2_flood_library_total",
                "HTTP/2 connections ended for a bound of the library."
            )
        case .pickerChoices:
            ("ai_gateway_picker_choices_total", "Endpoints that external pickers chose.")
        case .pickerUnreachable:
            (
                "ai_gateway_picker_unreachable_total",
                "Requests whose external picker could not be reached."
            )
        case .pickerTimeouts:
            (
                "ai_gateway_picker_timeouts_total",
                "Requests whose external picker said nothing in time."
            )
        case .pickerBroken:
            (
                "ai_gateway_picker_broken_total",
                "Requests whose external picker ended the call too early."
            )
        case .pickerMalformed:
            (
                "ai_gateway_picker_malformed_total",
                "Requests whose external picker said what no picker says."
            )
        case .pickerNoEndpoint:
            (
                "ai_gateway_picker_no_endpoint_total",
                "Requests whose external picker named no endpoint of the pool."
            )
        case .pickerOverflows:
            (
                "ai_gateway_picker_overflows_total",
                "Requests with more content than is held for an external picker."
            )
        case .http2ProtocolErrors:
            (
                "ai_gateway_http2_protocol_errors_total",
                "HTTP/2 connections ended because the peer broke the protocol."
            )
        case .mirrors:
            ("ai_gateway_mirrors_total", "Copies of requests that were begun for mirrors.")
        case .mirrorsBehind:
            (
                "ai_gateway_mirrors_behind_total",
                "Copies dropped because their mirror was more than 64 KiB behind."
            )
        case .mirrorsFailed:
            (
                "ai_gateway_mirrors_failed_total",
                "Copies that their mirror did not take or did not answer in full."
            )
        case .mirrorsCut:
            (
                "ai_gateway_mirrors_cut_total",
                "Copies cut because their request was, or at the end of draining."
            )
        case .authorizationsAllowed:
            (
                "ai_gateway_authorizations_allowed_total",
                "Requests that an external authorization let pass."
            )
        case .authorizationsDenied:
            (
                "ai_gateway_authorizations_denied_total",
                "Requests that an external authorization denied."
            )
        case .authorizationsFailed:
            (
                "ai_gateway_authorizations_failed_total",
                "Requests refused because their external authorization could not be had."
            )
        case .accessLogDropped:
            ("ai_gateway_access_log_dropped_total", "Access log lines lost to a full ring.")
        }
    }

    static func words(_ gauge: Gauge) -> (name: String, help: String) {
        switch gauge {
        case .downstreamConnections:
            ("ai_gateway_downstream_connections", "Open connections of clients.")
        case .upstreamConnections:
            ("ai_gateway_upstream_connections", "Open connections to backends.")
        case .activeExchanges:
            ("ai_gateway_active_exchanges", "Exchanges under way.")
        case .activeTunnels:
            ("ai_gateway_active_tunnels", "Tunnels under way.")
        case .datagramSessions:
            ("ai_gateway_udp_sessions", "Clients whose datagrams a backend is bound to.")
        case .activeMirrors:
            ("ai_gateway_active_mirrors", "Copies of requests under way.")
        case .activeAuthorizations:
            (
                "ai_gateway_active_authorizations",
                "Requests that wait for an external authorization."
            )
        case .bufferBytes:
            ("ai_gateway_buffer_bytes", "Memory of buffers in use.")
        case .heldBytes:
            ("ai_gateway_held_bytes", "Memory of content that is held as a whole.")
        }
    }

    static func words(_ kind: Histogram.Kind) -> (name: String, help: String) {
        switch kind {
        case .requestDuration:
            (
                "ai_gateway_request_duration_seconds",
                "From the first byte of a request to the last of its answer."
            )
        case .processing:
            ("ai_gateway_processing_seconds", "The gateway's own share of an exchange.")
        case .upstreamConnect:
            ("ai_gateway_upstream_connect_seconds", "Time to connect to a backend.")
        case .timeToFirstByte:
            (
                "ai_gateway_upstream_first_byte_seconds",
                "From the start of an attempt to the first byte of its answer."
            )
        case .picking:
            (
                "ai_gateway_picker_seconds",
                "From the head of a request to the choice of its pool's external picker."
            )
        case .workerTick:
            (
                "ai_gateway_worker_tick_seconds",
                "One turn of a worker's loop for several events or for news of control: what comes meanwhile waits that long."
            )
        }
    }
}
