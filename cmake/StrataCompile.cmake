# strata_compile_options(target...): the language and warnings of this house, for everything that is ours.
# strata_library_options(target...): besides, what the library and the command are built with.
find_package(Threads REQUIRED)

set(STRATA_C_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla)
set(STRATA_CXX_WARNINGS -Wall -Wextra -Wshadow -Wconversion)

function(strata_compile_options)
    foreach(target IN LISTS ARGN)
        set_target_properties(${target} PROPERTIES
            C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
            CXX_STANDARD 11 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF)
        target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
        target_compile_options(${target} PRIVATE
            "$<$<COMPILE_LANGUAGE:C>:${STRATA_C_WARNINGS}>" "$<$<COMPILE_LANGUAGE:CXX>:${STRATA_CXX_WARNINGS}>")
        if(STRATA_WERROR)
            target_compile_options(${target} PRIVATE -Werror)
        endif()
        if(STRATA_SANITIZE)
            set(flags -fsanitize=${STRATA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
            target_compile_options(${target} PRIVATE ${flags})
            target_link_options(${target} PRIVATE ${flags})
        endif()
        if(STRATA_SANITIZE MATCHES "thread" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
            target_compile_options(${target} PRIVATE -Wno-tsan) # fences, which it does not follow: src/os/reclaim.h
        endif()
        if(STRATA_BUILD_FUZZ)
            target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
        endif()
        if(STRATA_COVERAGE)
            target_compile_options(${target} PRIVATE --coverage)
            target_link_options(${target} PRIVATE --coverage)
        endif()
    endforeach()
endfunction()

function(strata_library_options)
    strata_compile_options(${ARGN})
    foreach(target IN LISTS ARGN)
        # banned.h comes before everything, so that nobody can forget it.
        target_compile_options(${target} PRIVATE "SHELL:-include ${PROJECT_SOURCE_DIR}/src/base/banned.h")
        set_target_properties(${target} PROPERTIES C_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
        target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/include")
    endforeach()
endfunction()
