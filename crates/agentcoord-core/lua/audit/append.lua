-- audit/append: appends an entry, in the bytes in which it came.
-- op {entry}
-- returns {seq}

return step(function(op)
    if ACTOR == 'session' then
        acting()
    end
    return {seq = audit.record(op.entry)}
end)
