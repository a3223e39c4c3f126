"""A model in other libraries' formats.

A format is a module named as in `request.FORMATS`, with two functions:

    write(model, folder, request)    writes the model's files to the empty `folder`
    reopen(folder, model)            reads them as their users do: from `Rows` to `Outputs`, as `reference` gives them

`albert.runs.export` calls both, and keeps the folder only where the outputs are the model's.
"""
