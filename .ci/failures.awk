# What the log of `cargo test` says of failures, one part a failure: of the standard harness the
# output below `failures:`, of harnesses of our own what stands around a test's `... FAILED`,
# and cargo's errors. A long part is shown by its beginning and its end; all of them come to
# at most LINES lines.

BEGIN { LINES = 150; PART = 40 }

function show(line) {
    if (shown < LINES) print line
    else if (shown == LINES) print "== more failures are in " FILENAME
    shown++
}

# Ends the part that was being read: shown if it tells of a failure.
function next_part(tells, i) {
    while (tells_of_failure && count && part[count] == "") count--
    for (i = 1; tells_of_failure && i <= count; i++)
        if (count <= PART || i <= PART / 2 || i > count - PART / 2) show(part[i])
        else if (i == PART / 2 + 1) show("    [" count - PART " more lines]")
    count = 0
    tells_of_failure = tells
}

/^ +(Running|Doc-tests) / { next_part(0); standard = 0; next }
/^running [0-9]+ tests?$/ { next_part(0); standard = 1; next }
/^test result:/ || /^failures:$/ { next_part(0); next }
/^---- .* ----$/ || /^error(:|\[)/ { next_part(1) }
/^test .* \.\.\. / {
    # What our own harnesses print stands before the line, and their explanation behind it.
    if (tells_of_failure || !/FAILED$/) next_part(0)
    if (/FAILED$/ && !standard) tells_of_failure = 1
    if (!tells_of_failure) next
}
{ part[++count] = $0 }

END { next_part(0) }
