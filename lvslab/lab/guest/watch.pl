# Print a director's table of virtual services at once and after each change, a line each:
# |SERVICE;SERVER;SERVER|SERVICE… as in /proc/net/ip_vs, without the counters.
# usage: watch.pl PERIOD, the seconds between two looks
#
# Four system calls a look: in a guest of User-Mode Linux each costs two changes of process and more. Standard input stays silent, so that
# waiting for it is a sleep; when it is closed, the watch is over.
use strict;

my $period = shift;
open(my $file, '<', '/proc/net/ip_vs') or die "/proc/net/ip_vs: $!\n";
$| = 1;
my ($seen, $last) = ('', '.');
while (1) {
    my $text = '';
    sysseek($file, 0, 0);
    1 while sysread($file, $text, 65536, length $text);
    if ($text ne $seen) {
        $seen = $text;
        my (undef, undef, undef, @lines) = split /\n/, $text;
        my $table = '';
        for my $line (@lines) {
            my @words = split ' ', $line;
            $table .= $words[0] eq '->' ? ";@words[1..3]" : "|@words";
        }
        print "$table\n" if $table ne $last;
        $last = $table;
    }
    my $input = "\1";
    last if select($input, undef, undef, $period) > 0;
}
