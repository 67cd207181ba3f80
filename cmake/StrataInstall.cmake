# cmake --install: libraries, headers, pkg-config file, CMake package; the command installs itself (cli/), and its man page
# here, so that it can be looked at without building.
include(CMakePackageConfigHelpers)

# Programs that are added after this find the library beside them.
set(CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
install(TARGETS strata strata_static EXPORT strata
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/strata" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")

set(package "${CMAKE_INSTALL_LIBDIR}/cmake/strata")
install(EXPORT strata NAMESPACE strata:: FILE strataTargets.cmake DESTINATION "${package}")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/strataConfig.cmake.in"
    "${PROJECT_BINARY_DIR}/strataConfig.cmake" INSTALL_DESTINATION "${package}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/strataConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/strataConfig.cmake" "${PROJECT_BINARY_DIR}/strataConfigVersion.cmake"
    DESTINATION "${package}")

# Relative to the file itself, so that an installed tree can be moved.
file(RELATIVE_PATH pc_to_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/strata.pc.in" "${PROJECT_BINARY_DIR}/strata.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/strata.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

# The texts refer to each other as they stand in the sources, and to the headers where those are installed.
file(RELATIVE_PATH doc_to_include "/prefix/${CMAKE_INSTALL_DOCDIR}" "/prefix/${CMAKE_INSTALL_INCLUDEDIR}/strata")
file(READ "${PROJECT_SOURCE_DIR}/README.md" readme)
string(REPLACE "](include/strata/" "](${doc_to_include}/" readme "${readme}")
file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/installed/README.md" CONTENT "${readme}")
set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/README.md")
install(FILES "${PROJECT_BINARY_DIR}/installed/README.md" "${PROJECT_SOURCE_DIR}/LICENSE"
    "${PROJECT_SOURCE_DIR}/CHANGELOG.md" "${PROJECT_SOURCE_DIR}/CONTRIBUTING.md" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(FILES "${PROJECT_SOURCE_DIR}/bench/README.md" DESTINATION "${CMAKE_INSTALL_DOCDIR}/bench") # the texts link to it
install(DIRECTORY "${PROJECT_SOURCE_DIR}/docs" DESTINATION "${CMAKE_INSTALL_DOCDIR}" FILES_MATCHING PATTERN "*.md" PATTERN "*.svg"
    PATTERN man EXCLUDE)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/examples" DESTINATION "${CMAKE_INSTALL_DOCDIR}" FILES_MATCHING PATTERN "*.c" PATTERN "*.h"
    PATTERN "*.cpp") # to read and to copy from
install(FILES "${PROJECT_SOURCE_DIR}/docs/man/strata.3" DESTINATION "${CMAKE_INSTALL_MANDIR}/man3")
if(STRATA_BUILD_CLI)
    install(FILES "${PROJECT_SOURCE_DIR}/docs/man/strata.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
endif()
