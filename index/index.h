// index/ knows who is there and who has what. Start here.
//
// It owns
//   signing_key.h     Ed25519 keys and peer ids         envelope.h   signed JSON
//   record.h          a peer's signed statement         beacon.h     what neighbours say by UDP
//   roster.h          the peers we know, and whom to sync with next
//   inventory.h       what this host holds, as a log that others follow (ServeKeys)
//   catalog.h         what others hold, readable without any message
//   peer_index.h      the port behind which the kinds of index stand
//   registrations.h   what an index server knows        rendezvous_messages.h   and its JSON
//   namespaces.h, slab.h, handle_table.h, cookie.h, registration_rows.h   of which it is made
//   waiters.h         who waits there for news
//   lan_asks.h        "who has this blob", asked of all neighbours at once
//   dht_key.h, dht_dials.h   what a key is called in a DHT, and which of its endpoints are dialled
//   federation.h      which other servers are followed, and what their logs change: log_page.h,
//                     registrations_copies.cc, registrations_log.cc
//   dial_bound.h      how often a server dials where strangers say
//   server_choice.h   which of several index servers an agent uses
//   search.h          images by their names, patterns, digests; search_query.h says what is asked,
//   search_terms.h, search_ids.h   are what it is made of
//   swarm_table.h     who takes part in which swarm     swarm_desk.h     asked at an index server
//   registry_slots.h  how many connections each peer may have to a registry with a bound
//   feed.h            a room's messages, and how they spread: feed_message.h, feed_frame.h (what
//                     neighbours say), feed_log.h (what stands)
//   signed_request.h  what a peer signs for a server    verified_records.h      not verified twice
//
// Adapters, which touch the world and decide nothing
//   lmdb/        the environment on disk, and the catalog in it
//   keyfile/     the host's key; the pins of index servers; small files written whole
//   net/         the io thread, the clocks, the gate
//   lan/         PeerIndex by UDP multicast             static/      by written-down endpoints
//   rendezvous/  by an index server; and what stands behind that server's HTTP
//   dht/         by libtorrent's Kademlia
//
// It never dials a peer, reads a blob, or decides who fetches what: that is fetch/.
//
// Invariants
// - A SignedRecord always verifies. Everything that comes from outside passes a decoder that is a
//   plain function of a bounded text, and is verified before it changes anything.
// - No message of one peer changes what is known of another.
// - A cursor never moves past changes that were not taken: pages are applied whole or not at all.
// - Cores are given `now`; each has one owner, the loop thread (beacons: the io thread).
//
// Limits  each header names its own: record 4 KiB, page 1 MiB and 2000 keys, beacon 1400 bytes,
//         20,000 peers, 1,000,000 keys a peer, 64 holders of a blob.
#pragma once
