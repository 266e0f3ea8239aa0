-- dependencies: a task waits until all that it depends on is completed, the same as src/machine/task/dependency.rs.

-- What the state of a task makes of the dependencies on it.
function task.stands(status)
    if status == 'completed' then
        return 'done'
    end
    return task.FINAL[status] and 'lost' or 'open'
end

-- Moves a number that is absent when it is zero.
local function adjust(record, field, by)
    local moved = (record[field] or 0) + by
    record[field] = moved > 0 and moved or nil
end

-- Counts a dependency of a task in (1) or out (-1).
local function count_dependency(record, how, by)
    if how ~= 'done' then
        adjust(record, 'waits_for', by)
    end
    if how == 'lost' then
        adjust(record, 'lost', by)
    end
end

-- Adds a dependency, unless the list has named it before; changes the dependent's record, does not put it.
local function depend(key, record, dependency, how)
    local edge = dependency .. '/' .. key
    if not get('dependency', edge) then
        put('dependency', edge, {dependency = dependency, dependent = key, state = how})
        count_dependency(record, how, 1)
    end
end

-- Puts a dependent; releases it when it was blocked and waits for nothing any more.
local function go_on(key, record)
    if record.status == 'blocked' and not record.waits_for then
        task.enqueue(key, record)
    else
        put('task', key, record)
    end
end

-- Links a new task to tasks that exist: at most `most` of them now, the others in later steps. How many it linked.
-- Changes the task's record, does not put it.
function task.link(key, record, ids, most)
    local linked = math.min(#ids, most)
    for at = 1, linked do
        local dependency, found = resolve('task', ids[at])
        depend(key, record, dependency, task.stands(found.status))
    end
    local part = 0
    for from = linked + 1, #ids, LINK_RUN do
        local later = {unpack(ids, from, math.min(from + LINK_RUN - 1, #ids))}
        insert('link', key .. '/' .. text(part), {task = key, ids = later, since = now})
        wake('keeper')
        part = part + 1
    end
    adjust(record, 'waits_for', #ids - linked)
    return linked
end

-- Goes on with linking a new task. It counts what is not linked yet as open.
function task.link_more(key)
    local work = links > 0 and get('link', key)
    if not work then
        return
    end
    local record = edit('task', work.task)
    if not record then
        return delete('link', key)
    end
    local linked = math.min(#work.ids, links)
    links = links - linked
    adjust(record, 'waits_for', -linked)
    for at = 1, linked do
        local id = work.ids[at]
        local dependency, found = find('task', id)
        -- One that is younger could wait for this very task.
        if found and found.seq < record.seq then
            depend(work.task, record, dependency, task.stands(found.status))
        else
            depend(work.task, record, id, 'lost')
        end
    end
    local later = {unpack(work.ids, linked + 1)}
    if #later == 0 then
        delete('link', key)
    else
        put('link', key, {task = work.task, ids = later, since = now})
    end
    go_on(work.task, record)
end

-- Brings a dependency into another state, and its dependent along.
local function change_dependency(edge, to)
    local dependency = edit('dependency', edge)
    if not dependency then
        return
    end
    local from = dependency.state
    dependency.state = to
    put('dependency', edge, dependency)
    local record = edit('task', dependency.dependent)
    if record then
        count_dependency(record, from, -1)
        count_dependency(record, to, 1)
        go_on(dependency.dependent, record)
    end
end

-- Tells those that depend on a task how it stands now: as many as a step may, the others in later steps.
function task.announce(key, status)
    if state.counts.dependencies == 0 then
        return
    end
    local to = task.stands(status)
    -- A completed task is never redriven, so nothing leaves `done`.
    for _, from in ipairs({'open', 'lost'}) do
        if from ~= to then
            local first, last = under('dep', key, from)
            local page = scan(first, last, links)
            local all = #page < links
            links = links - #page
            for _, entry in ipairs(page) do
                change_dependency(entry[#entry], to)
            end
            if not all then
                wake('keeper')
                put('announcement', key, {since = now})
                return
            end
        end
    end
end

-- Goes on with what an earlier step has left.
function task.announce_more(key)
    if links == 0 then
        return
    end
    delete('announcement', key)
    local record = get('task', key)
    if record then
        task.announce(key, record.status)
    end
end
