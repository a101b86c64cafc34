# From now on what is written is the student's; first of all what an archive brings back.
# usage: bring_back.sh SINCE ARCHIVE; SINCE is the file that keep.sh compares with
touch "$1"
[ ! -f "$2" ] || base64 -d "$2" | tar -xz -C /
