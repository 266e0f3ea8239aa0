-- order: the order of strings by their bytes, which is that of the index.

-- Whether a sorts before b by bytes, whatever the server's locale.
local function before_by_bytes(a, b)
    for i = 1, math.min(#a, #b) do
        local x, y = string.byte(a, i), string.byte(b, i)
        if x ~= y then
            return x < y
        end
    end
    return #a < #b
end

local function before_by_locale(a, b)
    return a < b
end

-- Whether the order of the server's locale is that of the bytes, as in C and POSIX. Lua compares in that order, and fast.
local function locale_is_bytewise()
    for byte = 1, 254 do
        local one, next_one = string.char(byte), string.char(byte + 1)
        if not (one < next_one and one .. next_one < next_one and next_one .. one < next_one .. next_one) then
            return false
        end
    end
    return 'aB' < 'aa' and 'B' < 'a'
end

-- Whether a sorts before b by bytes. Set by the first call.
local before
