# Strips one of containerd's protos of what C++ has no use for, to stdout.
#
# `import weak` crashes protoc's C++ output, and the gogo options would pull in gogo's own protos for
# nothing. Two fields of a plugin are never asked for: how its start failed (google.rpc.Status), and
# what it `requires`, a keyword of C++20.
use strict;
use warnings;

local $/;
my $proto = <>;
$proto =~ s/^import (weak .*|"google\/rpc\/status.proto");\n//mg;
$proto =~ s/^\s*(google\.rpc\.Status|repeated string requires) .*\n//mg;
$proto =~ s/^\s*option \((containerd|gogoproto)[^;]*;\n//mg;
$proto =~ s/\s*\[\s*\((gogoproto)[^\]]*\]//sg;
print $proto;
