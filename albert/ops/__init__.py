"""Operations that are compiled into one pass over memory."""
