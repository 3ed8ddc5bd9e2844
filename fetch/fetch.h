// fetch/ owns how a blob gets here, and how we give it to others.
//
// The core (files directly in this folder) decides and touches nothing: it takes events with `now`
// and returns actions. The adapters touch the world and decide nothing: transport/ carries the
// actions out against real peers, store/ keeps bytes on disk, containerd/ reads and fills the
// runtime's own store. fetch/ never knows what a registry or an image reference is (UpstreamPort
// is how it asks for upstream bytes), and never who is in the network (index/ does).
//
//   piece.h         Geometry, PieceMap      how a blob is cut, and which pieces are here
//   chain.h         Chain, ChainHasher      a flat SHA-256 verified piece by piece
//   piece_picker.h  PiecePicker             which piece next
//   peer_score.h    PeerScore               how well a peer serves, when it may be asked again
//   chain_choice.h  ChainChoice             chains that contradict each other
//   download.h      Download                one blob's way here: the rules are there
//   call_queue.h    CallQueue               whose turn it is to have a connection
//   upstream_port.h UpstreamPort            bytes from a registry
//
// Invariants: a piece counts as here only after it was verified under the chain we go by; Proved
// comes only when every piece was, the last against the digest; a peer is banned only for what it
// alone can be blamed for. Limits: kPiecesMax pieces, kCandidatesMax chains, holders_max holders
// asked at once and kHoldersKept times that remembered, kAskedMax askings of a piece,
// CallQueue's, DownloadLimits.
#pragma once
